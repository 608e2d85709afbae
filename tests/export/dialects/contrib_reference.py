"""numpy definitions of ONNX Runtime's CUDA operators for `onnx.reference`, written from docs/ContribOperators.md."""

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from scipy.special import erf

Array = np.ndarray


class NhwcConv(OpRun):
    op_domain = "com.microsoft"

    def _run(
        self, x: Array, weight: Array, bias: Array | None = None, *, pads: Any, strides: Any, group: int, **_: Any
    ) -> tuple[Array]:
        assert group == 1
        top, left, bottom, right = pads
        padded = np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[1:3], axis=(1, 2))
        windows = windows[:, :: strides[0], :: strides[1]]  # [n, h, w, channels in, kernel height, kernel width]
        y = np.einsum("nhwckl,mklc->nhwm", windows, weight, optimize=True)
        return (y if bias is None else y + bias,)


class GroupNorm(OpRun):
    op_domain = "com.microsoft"

    def _run(
        self, x: Array, gamma: Array, beta: Array, *, epsilon: float, groups: int, activation: int, **_: Any
    ) -> tuple[Array]:
        assert gamma.dtype == beta.dtype == np.float32
        grouped = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups).astype(np.float64)
        mean, variance = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
        y = ((grouped - mean) / np.sqrt(variance + epsilon)).reshape(x.shape) * gamma + beta
        return ((y / (1 + np.exp(-y)) if activation else y).astype(x.dtype),)


class SkipGroupNorm(GroupNorm):
    def _run(  # type: ignore[override]
        self, x: Array, gamma: Array, beta: Array, skip: Array, bias: Array | None = None, **attributes: Any
    ) -> tuple[Array, Array]:
        total = x + (skip[:, None, None] if skip.ndim == 2 else skip) + (0 if bias is None else bias)
        return (*super()._run(total, gamma, beta, **attributes), total)


class SkipLayerNormalization(OpRun):
    op_domain = "com.microsoft"

    def _run(
        self, x: Array, skip: Array, gamma: Array, beta: Array, bias: Array, *, epsilon: float
    ) -> tuple[Array, ...]:
        total = x + skip + bias
        mean, variance = total.mean(-1, keepdims=True), total.var(-1, keepdims=True)
        return (total - mean) / np.sqrt(variance + epsilon) * gamma + beta, mean, 1 / np.sqrt(variance + epsilon), total


class BiasAdd(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x: Array, bias: Array, skip: Array) -> tuple[Array]:
        assert x.ndim == 3
        assert x.shape == skip.shape
        return (x + bias + skip,)


class BiasSplitGelu(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x: Array, bias: Array) -> tuple[Array]:
        assert x.ndim == 3
        left, right = np.split(x + bias, 2, axis=-1)
        return ((left * right * 0.5 * (1 + erf(right / np.sqrt(2)))).astype(x.dtype),)


class MultiHeadAttention(OpRun):
    op_domain = "com.microsoft"

    def _run(
        self,
        query: Array,
        key: Array | None = None,
        value: Array | None = None,
        *,
        num_heads: int,
        unidirectional: int = 0,
        **_: Any,
    ) -> tuple[Array]:
        if key is None:  # packed QKV: [n, tokens, heads, 3, size]
            query, key, value = (query[..., kind, :] for kind in range(3))
        assert key is not None
        assert value is not None
        q, k, v = (t.reshape(*t.shape[:2], num_heads, -1) for t in (query, key, value))
        scores = np.einsum("nqhd,nkhd->nhqk", q, k, optimize=True) / np.sqrt(q.shape[-1])
        if unidirectional:
            scores = np.where(np.tri(*scores.shape[2:]) > 0, scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = np.einsum("nhqk,nkhd->nqhd", shares, v, optimize=True)
        return (mixed.reshape(*mixed.shape[:2], -1).astype(query.dtype),)


OPERATORS = [
    NhwcConv,
    GroupNorm,
    SkipGroupNorm,
    SkipLayerNormalization,
    BiasAdd,
    BiasSplitGelu,
    MultiHeadAttention,
]
