"""Eight bits for networks on CPU: ranges from a run of the model itself, layers that say integer operators."""
