"""Captured modules as ONNX graphs, and their files."""

from .capture import OPSET, describe, opset_of, to_onnx
from .writing import GRAPH, count_operators, optimise, save

__all__ = ["GRAPH", "OPSET", "count_operators", "describe", "opset_of", "optimise", "save", "to_onnx"]
