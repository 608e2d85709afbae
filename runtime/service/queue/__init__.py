"""Requests that wait, and calls that they share."""
