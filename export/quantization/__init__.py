"""Quantization for CPUs: int8 with ranges from a run of the model itself, and weights in 8 or 4 bits."""
