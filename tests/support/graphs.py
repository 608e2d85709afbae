"""Tiny ONNX graphs for tests of what loads and runs them."""

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
    """A graph of those nodes; inputs and outputs are (name, TensorProto type, shape)."""
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
    """y = x + timestep, x [batch, 3]: what a U-Net looks like to a session."""
    return write_graph(
        path,
        [helper.make_node("Add", ["x", "timestep"], ["y"])],
        [("x", kind, [batch, 3]), ("timestep", kind, list(timestep))],
        [("y", kind, [batch, 3])],
    )
