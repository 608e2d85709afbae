"""Checkpoint -> package of verified ONNX graphs."""

from .package import export

__all__ = ["export"]
