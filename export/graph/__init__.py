"""Captured modules as ONNX graphs, and their files."""
