"""Schedulers: each a table of coefficients."""
