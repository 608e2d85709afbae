"""Layers whose weights are stored in integers, for memory and not for speed."""

import torch
from torch import nn
from torch.nn import functional

from ..dialects.dialect import FusedModule, once
from .affine import STORED_LIMIT, quantize_blocks, quantize_weight
from .operators import dequantized
from .weight_operators import MATMUL_NBITS, dequantized_blocks, matmul_nbits, pack


class StoredWeight(FusedModule):
    """A weight that `DequantizeLinear` converts in every call; declared, as constant folding would undo it."""

    emits = once("DequantizeLinear")


class ByteWeight(StoredWeight):
    """A weight in 8 bits, with a scale for each output along `axis`."""

    integers: torch.Tensor
    scale: torch.Tensor
    zero_point: torch.Tensor

    def __init__(self, weight: torch.Tensor, axis: int) -> None:
        super().__init__()
        self.axis = axis
        integers, scale = quantize_weight(weight.movedim(axis, 0), STORED_LIMIT)
        self.register_buffer("integers", integers.movedim(0, axis).contiguous())
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", torch.zeros(len(scale), dtype=torch.int8))

    def forward(self) -> torch.Tensor:
        """The weight, in float."""
        weight: torch.Tensor = dequantized(self.integers, self.scale, self.zero_point, self.axis)
        return weight


class NibbleWeight(StoredWeight):
    """A weight in 4 bits, int8 in PyTorch, with a scale for each block of `size` inputs along `axis`."""

    integers: torch.Tensor
    scale: torch.Tensor

    def __init__(self, weight: torch.Tensor, axis: int, size: int) -> None:
        super().__init__()
        self.axis, self.size = axis, size
        integers, scale = quantize_blocks(weight.movedim(axis, -1), 4, size)
        self.register_buffer("integers", integers.flatten(-2).movedim(-1, axis).contiguous())
        self.register_buffer("scale", scale.movedim(-1, axis).contiguous())

    def forward(self) -> torch.Tensor:
        """The weight, in float."""
        weight: torch.Tensor = dequantized_blocks(self.integers, self.scale, self.axis, self.size)
        return weight


def stored(weight: torch.Tensor, outputs: int, inputs: int, bits: int, size: int) -> StoredWeight:
    """Quantize a weight with outputs and inputs along these axes.

    It has 8 bits where the inputs are not a whole number of blocks, or the outputs fewer than a block: these are the
    first and last layers, which are small and matter most. It gains the demo model's encoder 18 dB, its decoder 5 dB.
    """
    if bits == 4 and weight.shape[inputs] % size == 0 and weight.shape[outputs] >= size:
        return NibbleWeight(weight, inputs, size)
    return ByteWeight(weight, outputs)


class StoredConv(nn.Module):
    """`nn.Conv2d` with zero padding in one group, x [n, C, h, w] -> [n, K, h', w']."""

    def __init__(self, conv: nn.Conv2d, bits: int, size: int) -> None:
        super().__init__()
        self.stride, self.padding, self.dilation = conv.stride, conv.padding, conv.dilation
        self.weight, self.bias = stored(conv.weight.detach(), 0, 1, bits, size), conv.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return functional.conv2d(x, self.weight(), self.bias, self.stride, self.padding, self.dilation)


class StoredLinear(nn.Module):
    """`nn.Linear` in standard operators, x [..., in] -> [..., out]; the weight is [in, out] as for MatMul."""

    def __init__(self, linear: nn.Linear, bits: int, size: int) -> None:
        super().__init__()
        self.weight, self.bias = stored(linear.weight.detach().T, 1, 0, bits, size), linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        y = torch.matmul(x, self.weight())
        return y if self.bias is None else y + self.bias


class NBitsLinear(FusedModule):
    """`nn.Linear` as `MatMulNBits`, x [..., in] -> [..., out], with a scale for each block of `size` inputs."""

    emits = once(MATMUL_NBITS)
    packed: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear, bits: int, size: int) -> None:
        super().__init__()
        self.bits, self.bias = bits, linear.bias
        integers, scale = quantize_blocks(
            functional.pad(linear.weight.detach(), (0, -linear.in_features % size)), bits, size
        )
        self.register_buffer("packed", pack(integers, bits))
        self.register_buffer("scale", scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        y: torch.Tensor = matmul_nbits(x, self.packed, self.scale, self.bias, self.bits)
        return y


class StoredEmbedding(nn.Module):
    """`nn.Embedding` in 8 bits with a scale for each row, int64 [...] -> float [..., width]."""

    rows: torch.Tensor
    scale: torch.Tensor

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        rows, scale = quantize_weight(embedding.weight.detach(), STORED_LIMIT)
        self.register_buffer("rows", rows)
        self.register_buffer("scale", scale[:, None])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.rows[ids].to(self.scale.dtype) * self.scale[ids]
