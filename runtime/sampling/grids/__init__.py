"""Noise levels and timesteps of a run."""
