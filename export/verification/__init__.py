"""Parity of graphs and images with PyTorch, before anything is published."""
