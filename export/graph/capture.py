"""Capture of a PyTorch module as an ONNX graph."""

import re
from typing import Any

import ml_dtypes
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch.fx.experimental import _config as config  # what torch.onnx.export itself sets

from ..components import Component, Shape, Sizes
from ..dialects.operators import TRANSLATIONS
from ..quantization.operators import TRANSLATIONS as INTEGER_TRANSLATIONS
from ..quantization.weight_operators import TRANSLATIONS as WEIGHT_TRANSLATIONS
from .decomposition import skip_decomposition

OPSET = 20
"""The newest opset that ONNX Runtime 1.22 and the exporter share without converting the graph (it brings Gelu)."""
BLOCKS_OPSET = 21
"""The first opset in which DequantizeLinear has blocks and 4 bits."""


def to_onnx(component: Component, dtype: torch.dtype, static: Sizes | None = None) -> ir.Model:
    """Trace the component's module, which must be of `dtype`, into a graph with the names, types and axes it declares.

    Nothing is computed, so float16 needs no device that supports it.

    Args:
        component: to export.
        dtype: of the outputs, and of the inputs that have no dtype of their own.
        static: the sizes of axes that are fixed; other named axes stay open.
    """
    fixed = static or {}
    example = component.zeros({**component.cases[1], **fixed}, dtype)  # 2 rows: tracing makes a size of 1 a constant
    open_axes = {
        name: {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(declared.shape) if _opens(size, fixed)}
        for name, declared in component.inputs.items()
    }
    # Captured here: torch.onnx.export would capture with asserts, which fails for a U-Net, and then fall back to
    # another strategy, which takes several times as long and copies all weights
    with torch.no_grad(), config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        captured = torch.export.export(
            component.module, (), example, dynamic_shapes=open_axes if any(open_axes.values()) else None, strict=False
        )
        skip_decomposition(captured)
        program = torch.onnx.export(
            captured,
            input_names=list(component.inputs),
            output_names=list(component.outputs),
            opset_version=OPSET,
            custom_translation_table=TRANSLATIONS | INTEGER_TRANSLATIONS | WEIGHT_TRANSLATIONS,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model
    shapes = [declared.shape for declared in component.inputs.values()] + list(component.outputs.values())
    _name_axes(model, shapes, fixed)
    _name_scores(model)
    _leave_out_unused(model)
    _pack_nibbles(model)
    _forget_origin(model)
    model.graph.name = component.name
    model.producer_name, model.producer_version = "triptych", None
    return model


def describe(value: ir.Value) -> dict[str, Any]:
    """Name, dtype and shape of an input or output, for the manifest; an open axis is its name."""
    assert value.dtype is not None
    assert value.shape is not None
    shape = [axis if isinstance(axis, int) else str(axis.value) for axis in value.shape]
    return {"name": value.name, "dtype": value.dtype.numpy().name, "shape": shape}


def opset_of(model: ir.Model) -> int:
    """Version of the standard operators of a graph."""
    return model.opset_imports[""]


def _forget_origin(model: ir.Model) -> None:
    """Drop stack traces and module paths of this machine, which are private, and larger than the graph itself."""
    ClearMetadataAndDocStringPass()(model)
    outputs = [value for node in model.graph.all_nodes() for value in node.outputs]
    for value in (*model.graph.inputs, *model.graph.initializers.values(), *outputs):
        value.metadata_props.clear()


def _opens(axis: int | str, fixed: Sizes) -> bool:
    return isinstance(axis, str) and axis not in fixed


def _name_axes(model: ir.Model, shapes: list[Shape], fixed: Sizes) -> None:
    """Give the graph's inputs and outputs their declared axes, and the tracer's symbols the same names everywhere."""
    values = [*model.graph.inputs, *model.graph.outputs]
    names: dict[str, str] = {}
    for value, declared in zip(values, shapes, strict=True):
        for traced, axis in zip(value.shape or (), declared, strict=True):
            if isinstance(traced, ir.SymbolicDim) and re.fullmatch(r"\w+", str(traced.value)):
                names.setdefault(str(traced.value), str(axis))
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value.shape is not None:
                value.shape = ir.Shape([_renamed(dim, names) for dim in value.shape])
    for value, declared in zip(values, shapes, strict=True):
        value.shape = ir.Shape([_size(axis, fixed) for axis in declared])


def _name_scores(model: ir.Model) -> None:
    """Give unknown axes of attention scores the same names before and after their softmax.

    ONNX Runtime works in place only where shapes are known to be equal; these are the largest tensors of a graph.
    """
    for node in model.graph.all_nodes():
        if node.op_type == "Softmax" and (scores := node.inputs[0]) is not None and scores.shape is not None:
            attention = node.outputs[0]
            dims = [dim if isinstance(dim, int) else dim.value for dim in scores.shape]
            named = [f"{attention.name}_axis_{axis}" if dim is None else dim for axis, dim in enumerate(dims)]
            scores.shape, attention.shape = ir.Shape(named), ir.Shape(named)


def _leave_out_unused(model: ir.Model) -> None:
    """Remove the names of unused outputs of contrib operators, so that kernels skip them."""
    for node in model.graph.all_nodes():
        for value in node.outputs if node.domain == "com.microsoft" else ():
            if not value.uses() and not value.is_graph_output():
                value.name = ""


def _pack_nibbles(model: ir.Model) -> None:
    """Store weights that are dequantized in blocks as int4, a type that the exporter lacks."""
    for node in model.graph.all_nodes():
        integers = node.inputs[0] if node.op_type == "DequantizeLinear" and "block_size" in node.attributes else None
        if integers is not None and integers.const_value is not None:
            nibbles = integers.const_value.numpy().astype(ml_dtypes.int4)
            integers.const_value = ir.Tensor(nibbles, name=integers.name)
            integers.dtype = integers.const_value.dtype
            model.opset_imports[""] = BLOCKS_OPSET


def _renamed(dim: int | ir.SymbolicDim, names: dict[str, str]) -> int | str | None:
    if isinstance(dim, int) or dim.value is None:
        return dim if isinstance(dim, int) else None
    return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), str(dim.value))


def _size(axis: int | str, fixed: Sizes) -> int | str:
    """An axis as declared, or if it is fixed its size, with `latent_height * 8` evaluated."""
    if isinstance(axis, int):
        return axis
    name, operator, factor = [*axis.split(" "), "*", "1"][:3]
    if name not in fixed:
        return axis
    return fixed[name] * int(factor) if operator == "*" else fixed[name] // int(factor)
