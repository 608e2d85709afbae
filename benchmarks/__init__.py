"""Latency per component, peers side by side."""
