"""Convolutions and linear layers in int8, in integer operators of ONNX Runtime and in standard operators."""

import torch
from torch import nn
from torch.nn import functional

from ..dialects.dialect import FusedModule, once
from .affine import MULTIPLIED_LIMIT, Affine, quantize_weight
from .operators import DYNAMIC_QUANTIZE_MATMUL, dequantized, dynamic_quantize_matmul, qlinear_conv, rounded
from .ranges import Ranges


class QuantizedConv(nn.Module):
    """Base of quantized convolutions, x [n, C, h, w] -> [n, K, h', w'] in float.

    Args:
        conv: with zero padding, in one group.
        ranges: of its inputs and outputs.

    Attributes:
        weight: int8 [K, C, kh, kw], with a scale for each of K.
        bias: int32 [K], in units of the input's scale times the weight's.
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor
    weight_zero_point: torch.Tensor
    bias: torch.Tensor

    def __init__(self, conv: nn.Conv2d, ranges: Ranges) -> None:
        super().__init__()
        self.stride, self.padding, self.dilation = _pair(conv.stride), _pair(conv.padding), _pair(conv.dilation)
        weight, scale = quantize_weight(conv.weight.detach(), MULTIPLIED_LIMIT)
        bias = torch.zeros(len(weight)) if conv.bias is None else conv.bias.detach()
        unit = ranges.inputs.scale * scale
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", scale)
        self.register_buffer("weight_zero_point", torch.zeros(len(weight), dtype=torch.int8))
        self.register_buffer("bias", torch.round(bias / unit).to(torch.int32))
        self.input_rounding, self.output_rounding = Rounding(ranges.inputs), Rounding(ranges.outputs)


class QuantizedLinear(nn.Module):
    """Base of quantized linear layers, x [..., in] -> [..., out] in float.

    Attributes:
        weight: int8 [in, out], the layout of matrix products, with a scale for each of out.
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor
    weight_zero_point: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantize_weight(linear.weight.detach(), MULTIPLIED_LIMIT)
        self.register_buffer("weight", weight.T.contiguous())
        self.register_buffer("weight_scale", scale)
        self.register_buffer("weight_zero_point", torch.zeros(len(weight), dtype=torch.int8))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())


class Rounding(nn.Module):
    """Activations rounded to uint8 in a fixed range, and back to float: any shape."""

    scale: torch.Tensor
    zero_point: torch.Tensor

    def __init__(self, affine: Affine) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(affine.scale))
        self.register_buffer("zero_point", torch.tensor(affine.zero_point, dtype=torch.uint8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        y: torch.Tensor = rounded(x, self.scale, self.zero_point)
        return y


class QLinearConv(QuantizedConv, FusedModule):
    """`QLinearConv` between two roundings, which the optimiser may merge with others or double.

    The declared operator is ONNX Runtime's channels-last variant, by which the optimiser replaces it.
    """

    emits = once("com.microsoft::QLinearConv")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        y: torch.Tensor = qlinear_conv(
            x,
            self.weight,
            self.bias,
            [self.input_rounding.scale, self.weight_scale, self.output_rounding.scale],
            [self.input_rounding.zero_point, self.weight_zero_point, self.output_rounding.zero_point],
            self.stride,
            self.padding,
            self.dilation,
        )
        return y


class DynamicQuantizeMatMul(QuantizedLinear, FusedModule):
    """`DynamicQuantizeMatMul`: the range is that of each call's own inputs, which costs next to nothing."""

    emits = once(DYNAMIC_QUANTIZE_MATMUL)

    def __init__(self, linear: nn.Linear, ranges: Ranges) -> None:
        super().__init__(linear)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        y: torch.Tensor = dynamic_quantize_matmul(x, self.weight, self.weight_scale, self.weight_zero_point, self.bias)
        return y


class QDQConv(QuantizedConv):
    """`Conv` with rounded inputs, weights and outputs, which engines fuse into integer kernels.

    It declares no operators: layers that share their input share its rounding in the graph.
    """

    def __init__(self, conv: nn.Conv2d, ranges: Ranges) -> None:
        super().__init__(conv, ranges)
        self.register_buffer("bias_scale", self.input_rounding.scale * self.weight_scale)
        self.register_buffer("bias_zero_point", torch.zeros_like(self.bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        weight = dequantized(self.weight, self.weight_scale, self.weight_zero_point, 0)
        bias = dequantized(self.bias, self.get_buffer("bias_scale"), self.get_buffer("bias_zero_point"), 0)
        y = functional.conv2d(self.input_rounding(x), weight, bias, self.stride, self.padding, self.dilation)
        output: torch.Tensor = self.output_rounding(y)
        return output


class QDQLinear(QuantizedLinear):
    """`MatMul` of rounded inputs, in their fixed range, with a rounded weight; the output is not rounded."""

    def __init__(self, linear: nn.Linear, ranges: Ranges) -> None:
        super().__init__(linear)
        self.input_rounding = Rounding(ranges.inputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        weight = dequantized(self.weight, self.weight_scale, self.weight_zero_point, 1)
        y = torch.matmul(self.input_rounding(x), weight)
        return y if self.bias is None else y + self.bias


def _pair(value: int | str | tuple[int, ...]) -> list[int]:
    assert not isinstance(value, str)
    return [value, value] if isinstance(value, int) else list(value)
