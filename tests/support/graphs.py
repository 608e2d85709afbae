"""Tiny ONNX graphs."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

Value = tuple[str, int, Sequence[int | str]]
Output = tuple[str, int, Sequence[int | str] | None]


def write_graph(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Output],
) -> Path:
    """Write a graph of these nodes; inputs and outputs are (name, TensorProto type, shape)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    given = [helper.make_tensor_value_info(*value) for value in inputs]
    made = [helper.make_tensor_value_info(*value) for value in outputs]
    model = helper.make_model(
        helper.make_graph(nodes, path.parent.name, given, made),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, path)
    return path


def write_adder(
    path: Path, batch: int | str = "batch", timestep: Sequence[int | str] = (), kind: int = TensorProto.FLOAT
) -> Path:
    """Write y = x + timestep, x [batch, 3], which has the inputs of a U-Net."""
    return write_graph(
        path,
        [helper.make_node("Add", ["x", "timestep"], ["y"])],
        [("x", kind, [batch, 3]), ("timestep", kind, list(timestep))],
        [("y", kind, [batch, 3])],
    )
