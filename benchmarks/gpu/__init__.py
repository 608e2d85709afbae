"""Measurements that need a GPU: see README.md beside this."""
