"""Offline jobs: a file in, a folder out, resumable, here or on Ray."""
