"""Checkpoints with random weights, in the architectures of published models."""
