"""Conversion of captured programs without a second trace.

`torch.onnx.export` decomposes a captured program by tracing it once more, which takes as long as the capture itself.
Operators that it translates as they are need no decomposition: the graph is the same without it.
"""

import operator
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import Argument

_aten = torch.ops.aten

_TRANSLATED = frozenset(
    {
        operator.add,
        operator.floordiv,
        operator.getitem,
        operator.mul,
        operator.sub,
        _aten._to_copy.default,
        _aten.add.Tensor,
        _aten.arange.start,
        _aten.cat.default,
        _aten.chunk.default,
        _aten.conv2d.default,
        _aten.cos.default,
        _aten.div.Tensor,
        _aten.exp.default,
        _aten.einsum.default,
        _aten.expand.default,
        _aten.flatten.using_ints,
        _aten.gelu.default,
        _aten.group_norm.default,
        _aten.layer_norm.default,
        _aten.linear.default,
        _aten.mean.dim,
        _aten.mul.Tensor,
        _aten.pad.default,
        _aten.permute.default,
        _aten.pow.Tensor_Scalar,
        _aten.reshape.default,
        _aten.rsqrt.default,
        _aten.scaled_dot_product_attention.default,
        _aten.silu.default,
        _aten.sin.default,
        _aten.slice.Tensor,
        _aten.stack.default,
        _aten.sym_size.int,
        _aten.transpose.int,
        _aten.unsqueeze.default,
        _aten.upsample_nearest2d.vec,
        _aten.view.default,
    }
)
"""Functional operators whose translation is that of their decomposition. Those of the text encoders' masks and of the
cuda operator set are not among them: these graphs are small, or would have more nodes."""

_NAMESPACES = ("triptych",)
"""Of operators that this project translates."""


def skip_decomposition(program: ExportedProgram) -> None:
    """Let `torch.onnx.export` convert the program as captured, if each of its operators is translated as it is.

    The program is simplified in place then; its results do not change.
    """
    changes: list[Callable[[], None]] = []
    for node in program.graph.nodes:
        if not _is_translated(node):
            change = _simplification(node)
            if change is None:
                return
            changes.append(change)
    for change in changes:
        change()
    program.graph_module.recompile()
    program.run_decompositions = lambda *_: program


def _is_translated(node: Node) -> bool:
    if node.op != "call_function":
        return True
    return node.target in _TRANSLATED or getattr(node.target, "namespace", None) in _NAMESPACES


def _simplification(node: Node) -> Callable[[], None] | None:
    """The change that decomposition would make of a cast, or a call without effect."""
    match node.target:
        case _aten._assert_tensor_metadata.default:
            return partial(node.graph.erase_node, node)
        case _aten.contiguous.default:
            return partial(_remove, node)
        case _aten.dropout.default if not node.args[2]:  # not in training
            return partial(_remove, node)
        case _aten.to.dtype if len(node.args) == 2 and not node.kwargs:
            return partial(_cast, node, node.args[1])
        case _aten.to.device if len(node.args) == 3 and not node.kwargs:
            return partial(_cast, node, node.args[2])
        case _:
            return None


def _remove(node: Node) -> None:
    node.replace_all_uses_with(cast(Node, node.args[0]))
    node.graph.erase_node(node)


def _cast(node: Node, dtype: Argument) -> None:
    node.target, node.args, node.kwargs = _aten._to_copy.default, (node.args[0],), {"dtype": dtype}
