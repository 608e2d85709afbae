"""Measurements that need a GPU: see README.md in this folder."""
