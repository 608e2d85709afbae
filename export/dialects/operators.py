"""Contrib operators of ONNX Runtime as PyTorch operators, which the exporter writes one to one.

In PyTorch they compute what ONNX Runtime's docs/ContribOperators.md defines, so that a rewritten module still runs
there.
"""

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset20
from torch.nn import functional

from .schema import FLOAT, INT, describe_operator

MULTI_HEAD_ATTENTION = "com.microsoft::MultiHeadAttention"
QUICK_GELU = "com.microsoft::QuickGelu"
RMS_NORM = "SimplifiedLayerNormalization"
"""In the domain of the standard operators, where ONNX Runtime registers it; it is not among them."""

_FLOATS = {"T": ["tensor(float)", "tensor(float16)"]}


@torch.library.custom_op("triptych::multi_head_attention", mutates_args=())
def multi_head_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, causal: bool
) -> torch.Tensor:
    """query [n, tokens, width], key and value [n, other tokens, width] -> [n, tokens, width].

    The CPU kernel works tile by tile and never holds all scores (FlashAttention, Dao et al. 2022).
    """
    q, k, v = (each.reshape(*each.shape[:2], heads, -1).transpose(1, 2) for each in (query, key, value))
    return functional.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


@multi_head_attention.register_fake
def _(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, causal: bool) -> torch.Tensor:
    return torch.empty_like(query)


@torch.library.custom_op("triptych::biased_attention", mutates_args=())
def biased_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, heads: int, scale: float
) -> torch.Tensor:
    """query, key and value [n, tokens, width], bias of the scores [n or 1, heads, tokens, tokens] -> as query."""
    q, k, v = (each.reshape(*each.shape[:2], heads, -1).transpose(1, 2) for each in (query, key, value))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale).transpose(1, 2).flatten(2)


@biased_attention.register_fake
def _(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, heads: int, scale: float
) -> torch.Tensor:
    return torch.empty_like(query)


@torch.library.custom_op("triptych::rms_norm", mutates_args=())
def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """x [..., width] divided by the root of the mean of its squares, times weight [width]."""
    return functional.rms_norm(x, weight.shape, weight, epsilon)


@rms_norm.register_fake
def _(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("triptych::quick_gelu", mutates_args=())
def quick_gelu(x: torch.Tensor, alpha: float) -> torch.Tensor:
    """x sigmoid(alpha x), elementwise."""
    return x * torch.sigmoid(alpha * x)


@quick_gelu.register_fake
def _(x: torch.Tensor, alpha: float) -> torch.Tensor:
    return torch.empty_like(x)


def _differentiable(operator: Any) -> None:
    """Give the operator gradients by recomputing it in PyTorch's own operators."""

    def keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        tensors = [each for each in inputs if isinstance(each, torch.Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.rest = inputs[len(tensors) :]

    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        tensors = [each.detach().requires_grad_() for each in ctx.saved_tensors]
        with torch.enable_grad():
            output = operator._init_fn(*tensors, *ctx.rest)
        return (*torch.autograd.grad(output, tensors, gradient), *[None] * len(ctx.rest))

    operator.register_autograd(backward, setup_context=keep)


_differentiable(multi_head_attention)
_differentiable(quick_gelu)


_MULTI_HEAD_ATTENTION = describe_operator(
    "MultiHeadAttention",
    {"query": "T", "key": "T", "value": "T"},
    ("output", "T"),
    _FLOATS,
    {"num_heads": INT, "unidirectional": INT},
)
_BIASED_ATTENTION = describe_operator(
    "MultiHeadAttention",
    {"query": "T", "key": "T", "value": "T", "bias": "T", "key_padding_mask": "M", "attention_bias": "T"},
    ("output", "T"),
    _FLOATS | {"M": ["tensor(int32)"]},
    {"num_heads": INT, "scale": FLOAT},
    optional=("bias", "key_padding_mask"),
)
_RMS_NORM = describe_operator(
    RMS_NORM, {"X": "T", "scale": "T"}, ("Y", "T"), _FLOATS, {"axis": INT, "epsilon": FLOAT}, opset=opset20
)
_QUICK_GELU = describe_operator("QuickGelu", {"X": "T"}, ("output", "T"), _FLOATS, {"alpha": FLOAT})


def _write_multi_head_attention(query: Any, key: Any, value: Any, heads: int, causal: bool) -> Any:
    return _MULTI_HEAD_ATTENTION(query, key, value, num_heads=heads, unidirectional=int(causal))


def _write_biased_attention(query: Any, key: Any, value: Any, bias: Any, heads: int, scale: float) -> Any:
    return _BIASED_ATTENTION(query, key, value, None, None, bias, num_heads=heads, scale=scale)


def _write_rms_norm(x: Any, weight: Any, epsilon: float) -> Any:
    return _RMS_NORM(x, weight, axis=-1, epsilon=epsilon)


def _write_quick_gelu(x: Any, alpha: float) -> Any:
    return _QUICK_GELU(x, alpha=alpha)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.triptych.multi_head_attention.default: _write_multi_head_attention,
    torch.ops.triptych.biased_attention.default: _write_biased_attention,
    torch.ops.triptych.rms_norm.default: _write_rms_norm,
    torch.ops.triptych.quick_gelu.default: _write_quick_gelu,
}
"""PyTorch operator -> its ONNX translation, for `torch.onnx.export`."""
