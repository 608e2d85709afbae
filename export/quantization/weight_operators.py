"""Operators on weights in 8 or 4 bits as PyTorch operators, which the exporter writes one to one."""

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset20
from torch.nn import functional

from ..dialects.schema import INT, describe_operator

MATMUL_NBITS = "com.microsoft::MatMulNBits"

ACCURACY_LEVEL = 4
"""The kernel may round its inputs to 8 bits, block by block.

Otherwise it dequantizes the whole weight in each call, which takes 1 to 1.5 times as long as fp32 (in 8 bits up to 4
times, where few rows are multiplied); with it 0.6 to 1 times.
"""


@torch.library.custom_op("triptych::dequantized_blocks", mutates_args=())
def dequantized_blocks(integers: torch.Tensor, scale: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """DequantizeLinear: integers -> floats, with a scale for each block of `size` along the axis."""
    return integers * scale.repeat_interleave(size, axis)


@torch.library.custom_op("triptych::matmul_nbits", mutates_args=())
def matmul_nbits(
    x: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, bits: int
) -> torch.Tensor:
    """MatMulNBits: x [..., in] -> [..., out].

    Args:
        x: of the weight's width before its last block was padded.
        packed: see `pack`, uint8 [out, blocks, bytes].
        scale: float [out, blocks].
        bias: float [out].
        bits: of an integer.
    """
    weight = (unpack(packed, bits) * scale[..., None]).flatten(1)
    return functional.linear(x, weight[:, : x.shape[-1]], bias)


def pack(integers: torch.Tensor, bits: int) -> torch.Tensor:
    """int8 [..., n] of this many bits -> uint8 [..., n * bits / 8]; the middle stands for 0, the first are lowest."""
    raised: torch.Tensor = (integers.to(torch.int16) + 2 ** (bits - 1)).unflatten(-1, (-1, 8 // bits))
    shifts = torch.arange(0, 8, bits, dtype=torch.int16)
    return (raised << shifts).sum(-1).to(torch.uint8)


def unpack(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Unpack the integers of `pack`, int16 [..., n]."""
    shifts = torch.arange(0, 8, bits, dtype=torch.int16)
    fields: torch.Tensor = (packed.to(torch.int16)[..., None] >> shifts) & (2**bits - 1)
    integers: torch.Tensor = fields.flatten(-2) - 2 ** (bits - 1)
    return integers


@dequantized_blocks.register_fake
def _(integers: torch.Tensor, scale: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(integers, dtype=scale.dtype)


@matmul_nbits.register_fake
def _(x: torch.Tensor, packed: torch.Tensor, *_: Any) -> torch.Tensor:
    return x.new_empty(*x.shape[:-1], packed.shape[0])


_MATMUL_NBITS = describe_operator(
    "MatMulNBits",
    {"A": "T1", "B": "T2", "scales": "T1", "zero_points": "T2", "g_idx": "T3", "bias": "T1"},
    ("Y", "T1"),
    {"T1": ["tensor(float)"], "T2": ["tensor(uint8)"], "T3": ["tensor(int32)"]},
    dict.fromkeys(("K", "N", "bits", "block_size", "accuracy_level"), INT),
    optional=("zero_points", "g_idx", "bias"),
)
# declared in the opset of the export; `graph.capture` raises that to BLOCKS_OPSET when the weights have 4 bits
_DEQUANTIZE_BLOCKS = describe_operator(
    "DequantizeLinear",
    {"x": "T1", "x_scale": "T2"},
    ("y", "T2"),
    {"T1": ["tensor(int8)"], "T2": ["tensor(float)"]},
    dict.fromkeys(("axis", "block_size"), INT),
    opset=opset20,
)


def _write_dequantized_blocks(integers: Any, scale: Any, axis: int, size: int) -> Any:
    return _DEQUANTIZE_BLOCKS(integers, scale, axis=axis, block_size=size)


def _write_matmul_nbits(x: Any, packed: Any, scale: Any, bias: Any, bits: int) -> Any:
    out, _, size = packed.shape
    return _MATMUL_NBITS(
        x,
        packed,
        scale,
        None,
        None,
        bias,
        K=x.shape[-1],
        N=out,
        bits=bits,
        block_size=size * 8 // bits,
        accuracy_level=ACCURACY_LEVEL,
    )


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.triptych.dequantized_blocks.default: _write_dequantized_blocks,
    torch.ops.triptych.matmul_nbits.default: _write_matmul_nbits,
}
"""PyTorch operator -> its ONNX translation, for `torch.onnx.export`."""
