"""Eight-bit operators of ONNX and ONNX Runtime as PyTorch operators, which the exporter writes one to one.

In PyTorch they compute in floats, equal to within one step of the output's range: sums that are exact in integers are
rounded there.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset20
from torch.nn import functional

from ..dialects.schema import describe_operator
from .affine import LEVELS, Affine

DYNAMIC_QUANTIZE_MATMUL = "com.microsoft::DynamicQuantizeMatMul"


@torch.library.custom_op("triptych::rounded", mutates_args=())
def rounded(x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor) -> torch.Tensor:
    """QuantizeLinear and DequantizeLinear: x rounded to uint8, in floats; scale [] and zero_point uint8 []."""
    integers = torch.round(x / scale) + zero_point
    return (integers.clamp(0, LEVELS) - zero_point) * scale


@torch.library.custom_op("triptych::dequantized", mutates_args=())
def dequantized(integers: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, axis: int) -> torch.Tensor:
    """DequantizeLinear: int8 or int32 -> floats, with a scale and a zero point [size] along the axis."""
    shape = [-1 if index == axis else 1 for index in range(integers.dim())]
    return (integers - zero_point.view(shape)) * scale.view(shape)


@torch.library.custom_op("triptych::qlinear_conv", mutates_args=())
def qlinear_conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    scales: Sequence[torch.Tensor],
    zero_points: Sequence[torch.Tensor],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> torch.Tensor:
    """QuantizeLinear, QLinearConv and DequantizeLinear: float [n, C, h, w] -> float [n, K, h', w'].

    `scales` and `zero_points` are those of x, weight and y. `weight` int8 [K, C, kh, kw] has a scale for each of K;
    `bias` int32 [K] is in units of the scale of x times that of the weight.
    """
    (x_scale, weight_scale, y_scale), (x_zero_point, weight_zero_point, y_zero_point) = scales, zero_points
    kernel = dequantized(weight, weight_scale, weight_zero_point, 0)
    y = functional.conv2d(
        rounded(x, x_scale, x_zero_point), kernel, bias * (x_scale * weight_scale), stride, padding, dilation
    )
    output: torch.Tensor = rounded(y, y_scale, y_zero_point)
    return output


@torch.library.custom_op("triptych::dynamic_quantize_matmul", mutates_args=())
def dynamic_quantize_matmul(
    x: torch.Tensor,
    weight: torch.Tensor,
    weight_scale: torch.Tensor,
    weight_zero_point: torch.Tensor,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """DynamicQuantizeMatMul: float [..., in] times int8 [in, out], x rounded to uint8 in its own range."""
    affine = Affine.covering(float(x.min()), float(x.max()))
    y: torch.Tensor = affine.rounded(x) @ dequantized(weight, weight_scale, weight_zero_point, 1)
    return y if bias is None else y + bias


@rounded.register_fake
def _(x: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(x)


@dequantized.register_fake
def _(integers: torch.Tensor, scale: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(integers, dtype=scale.dtype)


@qlinear_conv.register_fake
def _(x: torch.Tensor, weight: torch.Tensor, *rest: Any) -> torch.Tensor:
    return functional.conv2d(x, weight.to(x.dtype), None, *rest[-3:])


@dynamic_quantize_matmul.register_fake
def _(x: torch.Tensor, weight: torch.Tensor, *_: Any) -> torch.Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[1])


def _write_rounded(x: Any, scale: Any, zero_point: Any) -> Any:
    return opset20.DequantizeLinear(opset20.QuantizeLinear(x, scale, zero_point), scale, zero_point)


def _write_dequantized(integers: Any, scale: Any, zero_point: Any, axis: int) -> Any:
    return opset20.DequantizeLinear(integers, scale, zero_point, axis=axis)


def _write_qlinear_conv(
    x: Any,
    weight: Any,
    bias: Any,
    scales: Sequence[Any],
    zero_points: Sequence[Any],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Any:
    (x_scale, weight_scale, y_scale), (x_zero_point, weight_zero_point, y_zero_point) = scales, zero_points
    output = opset20.QLinearConv(
        opset20.QuantizeLinear(x, x_scale, x_zero_point),
        x_scale,
        x_zero_point,
        weight,
        weight_scale,
        weight_zero_point,
        y_scale,
        y_zero_point,
        bias,
        strides=[*stride],
        pads=[*padding, *padding],
        dilations=[*dilation],
    )
    return opset20.DequantizeLinear(output, y_scale, y_zero_point)


_DYNAMIC_QUANTIZE_MATMUL = describe_operator(
    "DynamicQuantizeMatMul",
    {"A": "T1", "B": "T2", "b_scale": "T1", "b_zero_point": "T2", "bias": "T1"},
    ("Y", "T1"),
    {"T1": ["tensor(float)"], "T2": ["tensor(int8)", "tensor(uint8)"]},
    {},
    optional=("b_zero_point", "bias"),
)


def _write_dynamic_quantize_matmul(
    x: Any, weight: Any, weight_scale: Any, weight_zero_point: Any, bias: Any = None
) -> Any:
    return _DYNAMIC_QUANTIZE_MATMUL(x, weight, weight_scale, weight_zero_point, bias)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.triptych.rounded.default: _write_rounded,
    torch.ops.triptych.dequantized.default: _write_dequantized,
    torch.ops.triptych.qlinear_conv.default: _write_qlinear_conv,
    torch.ops.triptych.dynamic_quantize_matmul.default: _write_dynamic_quantize_matmul,
}
"""PyTorch operator -> its ONNX translation, for `torch.onnx.export`."""
