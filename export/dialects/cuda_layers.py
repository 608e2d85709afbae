"""Layers that emit operators of ONNX Runtime's CUDA provider; images are [n, height, width, channels].

Several kernels were made for the sizes of Stable Diffusion and take no others; where an operator does not apply, its
layer falls back to standard ones. Sizes and layouts are those of
onnxruntime/contrib_ops/cuda (diffusion/*.cc, bert/*.cc) and docs/ContribOperators.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import nn
from torch.nn import functional

from .dialect import FusedModule, once

SPLIT_GELU_WIDTHS = (2560, 5120, 6144, 10240, 12288)
"""Widths that `BiasSplitGelu` takes, both halves together."""
CONV_CHANNELS = 4
"""cuDNN's channels-last kernels read channels in packs of this size; RGB images are left to the standard Conv."""
GROUP_NORM_CHANNELS = 512
"""The most channels that one group of `GroupNorm` may have; their number must be even, too."""
FUSED_HEAD_SIZE = 256
"""The largest head that flash attention takes; above, a kernel is tried that not every card can launch."""


@dataclass(frozen=True)
class Choices:
    """Choices that only a measurement on a card can decide.

    Attributes:
        nhwc_conv: emit `NhwcConv`; else the standard Conv between transposes, which ONNX Runtime moves away with the
            provider option `prefer_nhwc`.
        packed: emit self-attention on packed QKV; else on query, key and value from a product each, which saves
            kernels that cannot read packed ones (flash, cuDNN) a copy, and costs two more products. Attention to the
            text always has key and value apart: they are the same in all steps of an image.
    """

    nhwc_conv: bool = True
    packed: bool = True


class Sum(NamedTuple):
    """A sum x + bias + skip that is not computed yet: the next normalization computes it in the same pass.

    `x` and `skip` are [n, ..., channels], `bias` is [channels].
    """

    x: torch.Tensor
    bias: torch.Tensor
    skip: torch.Tensor


State = torch.Tensor | Sum
"""The value between two layers."""


def emit(
    operator: str, inputs: Sequence[torch.Tensor | None], shape: Sequence[int], **attributes: int | float | list[int]
) -> torch.Tensor:
    """Emit a node of a contrib operator, with one output of the first input's dtype."""
    assert inputs[0] is not None
    return torch.onnx.ops.symbolic(
        f"com.microsoft::{operator}",
        inputs,
        attributes,  # type: ignore[arg-type]
        dtype=inputs[0].dtype,
        shape=shape,
        version=1,
    )


class Conv(FusedModule):
    """2D convolution, channels last. With `bias` False the next layer adds the bias."""

    def __init__(self, conv: nn.Conv2d, choices: Choices, *, bias: bool = True) -> None:
        super().__init__()
        assert not isinstance(conv.padding, str)
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups
        aligned = conv.in_channels % CONV_CHANNELS == 0 and conv.out_channels % CONV_CHANNELS == 0
        self.nhwc = choices.nhwc_conv and aligned
        if self.nhwc:
            self.emits = once("com.microsoft::NhwcConv")
        weight = conv.weight.permute(0, 2, 3, 1).contiguous() if self.nhwc else conv.weight
        self.weight = frozen(weight)
        self.bias = frozen(conv.bias) if bias and conv.bias is not None else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, h, w, channels in] -> [n, h', w', channels out]."""
        if not self.nhwc:
            plain = (self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
            return functional.conv2d(x.permute(0, 3, 1, 2), *plain).permute(0, 2, 3, 1)
        kernel = self.weight.shape[1:3]
        height, width = (
            (x.shape[1 + i] + 2 * self.padding[i] - self.dilation[i] * (kernel[i] - 1) - 1) // self.stride[i] + 1
            for i in range(2)
        )
        return emit(
            "NhwcConv",
            [x, self.weight] if self.bias is None else [x, self.weight, self.bias],
            [x.shape[0], height, width, self.weight.shape[0]],
            kernel_shape=list(kernel),
            strides=list(self.stride),
            pads=[*self.padding, *self.padding],
            dilations=list(self.dilation),
            group=self.groups,
        )


class GroupNorm(FusedModule):
    """Group normalization, with its SiLU if `silu`. Scale and shift stay in float32, as the kernel needs."""

    operator = "GroupNorm"

    def __init__(self, norm: nn.GroupNorm, *, silu: bool) -> None:
        super().__init__()
        size = norm.num_channels // norm.num_groups
        self.groups, self.epsilon, self.silu = norm.num_groups, norm.eps, silu
        self.holds = size % 2 == 0 and size <= GROUP_NORM_CHANNELS
        if self.holds:
            self.emits = once(f"com.microsoft::{self.operator}")
        self.gamma, self.beta = frozen(norm.weight.float()), frozen(norm.bias.float())

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Do nothing: casting the network leaves gamma and beta in float32."""
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, h, w, channels] -> the same."""
        if not self.holds:
            return self.plain(x)
        return emit(self.operator, [x, self.gamma, self.beta], x.shape, **self.attributes())

    def attributes(self) -> dict[str, Any]:
        """Attributes of the operator."""
        return {"epsilon": self.epsilon, "groups": self.groups, "activation": int(self.silu), "channels_last": 1}

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """Group normalization in standard operators."""
        normal = functional.group_norm(
            x.permute(0, 3, 1, 2).float(), self.groups, self.gamma, self.beta, self.epsilon
        ).to(x.dtype)
        return (functional.silu(normal) if self.silu else normal).permute(0, 2, 3, 1)


class ShiftedGroupNorm(GroupNorm):
    """Group normalization of x + shift, where the shift is one number per row and channel."""

    operator = "SkipGroupNorm"

    def forward(self, x: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """[n, h, w, channels], [n, channels] -> [n, h, w, channels]."""
        if not self.holds:
            return self.plain(x + shift[:, None, None])
        return emit(self.operator, [x, self.gamma, self.beta, shift], x.shape, **self.attributes())


class SummedGroupNorm(GroupNorm):
    """Group normalization of a sum, with the sum as second output."""

    operator = "SkipGroupNorm"

    def forward(self, state: Sum) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """Sum of [n, h, w, channels] -> normalized, sum."""
        x, bias, skip = state
        if not self.holds:
            total = x + bias + skip
            return self.plain(total), total
        normal, total = torch.onnx.ops.symbolic_multi_out(
            "com.microsoft::SkipGroupNorm",
            [x, self.gamma, self.beta, skip, bias],
            self.attributes(),
            dtypes=[x.dtype] * 2,
            shapes=[x.shape] * 2,
            version=1,
        )
        return normal, total


class Total(FusedModule):
    """Computes a sum where no normalization does."""

    emits = once("com.microsoft::BiasAdd")

    def forward(self, state: Sum) -> torch.Tensor:
        """Sum of [n, ..., channels] -> [n, ..., channels]."""
        x, bias, skip = state
        rows = [tensor.reshape(tensor.shape[0], -1, tensor.shape[-1]) for tensor in (x, skip)]
        return emit("BiasAdd", [rows[0], bias, rows[1]], rows[0].shape).reshape(x.shape)


class SummedLayerNorm(FusedModule):
    """Layer normalization of a sum, with the sum as second output."""

    emits = once("com.microsoft::SkipLayerNormalization")

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.epsilon = norm.eps
        self.gamma, self.beta = frozen(norm.weight), frozen(norm.bias)

    def forward(self, state: Sum) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of [n, tokens, channels] -> normalized, sum."""
        x, bias, skip = state
        moments = (*x.shape[:2], 1)
        normal, _, _, total = torch.onnx.ops.symbolic_multi_out(
            "com.microsoft::SkipLayerNormalization",
            [x, skip, self.gamma, self.beta, bias],
            {"epsilon": self.epsilon},
            dtypes=[x.dtype, torch.float32, torch.float32, x.dtype],
            shapes=[x.shape, moments, moments, x.shape],
            version=1,
        )
        return normal, total


class Dense(nn.Module):
    """A linear layer, its weight laid out as MatMul takes it: [in, out]. With `bias` False the next layer adds it."""

    def __init__(self, linear: nn.Linear, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = frozen(linear.weight.T.contiguous())
        self.bias = frozen(linear.bias) if bias and linear.bias is not None else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out]."""
        product = x @ self.weight
        return product if self.bias is None else product + self.bias


class SplitGelu(FusedModule):
    """GEGLU after its linear layer: (left + bias) * gelu(right + bias)."""

    def __init__(self, bias: torch.Tensor) -> None:
        super().__init__()
        self.holds = len(bias) in SPLIT_GELU_WIDTHS
        if self.holds:
            self.emits = once("com.microsoft::BiasSplitGelu")
        self.bias = frozen(bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, tokens, 2 width] -> [n, tokens, width]."""
        if self.holds:
            return emit("BiasSplitGelu", [x, self.bias], [*x.shape[:2], x.shape[2] // 2])
        left, right = (x + self.bias).chunk(2, dim=-1)
        return left * functional.gelu(right)


class Attention(FusedModule):
    """Attention of `heads` heads, each of `size` channels; with `causal` each token sees those before it and itself."""

    def __init__(self, heads: int, size: int, *, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal, self.width = heads, causal, heads * size
        self.holds = size <= FUSED_HEAD_SIZE
        if self.holds:
            self.emits = once("com.microsoft::MultiHeadAttention")

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Query, key and value [n, tokens, width], or one [n, tokens, 3 width] by head -> [n, tokens, width]."""
        if not self.holds:
            return self._plain(*inputs)
        first = inputs[0]
        if len(inputs) == 1:
            inputs = (first.reshape(*first.shape[:2], self.heads, 3, -1),)
        attributes = {"num_heads": self.heads} | ({"unidirectional": 1} if self.causal else {})
        return emit("MultiHeadAttention", inputs, [*first.shape[:2], self.width], **attributes)

    def _plain(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.reshape(*t.shape[:2], self.heads, -1).transpose(1, 2) for t in (query, key, value))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return mixed.transpose(1, 2).reshape(*query.shape[:2], self.width)


class SelfAttention(nn.Module):
    """Attention of tokens to each other; `layers` are those of query, key and value, and may have biases."""

    def __init__(self, layers: Sequence[nn.Linear], heads: int, choices: Choices, *, causal: bool = False) -> None:
        super().__init__()
        self.attention = Attention(heads, layers[0].out_features // heads, causal=causal)
        together = choices.packed and self.attention.holds
        self.layers = nn.ModuleList([packed(layers, heads)] if together else map(Dense, layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, tokens, channels] -> [n, tokens, width]."""
        attended: torch.Tensor = self.attention(*(layer(x) for layer in self.layers))
        return attended


class CrossAttention(nn.Module):
    """Attention to keys and values that are computed elsewhere, see `cuda_conditioning.Text`."""

    def __init__(self, query: nn.Linear, heads: int) -> None:
        super().__init__()
        self.query, self.attention = Dense(query), Attention(heads, query.out_features // heads)

    def forward(self, x: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """[n, tokens, channels], twice [n, text tokens, width] -> [n, tokens, width]."""
        attended: torch.Tensor = self.attention(self.query(x), key, value)
        return attended


def packed(layers: Sequence[nn.Linear], heads: int) -> Dense:
    """One linear layer whose output is, head by head, the outputs of all `layers` for that head."""
    joined = nn.Linear(layers[0].in_features, len(layers) * layers[0].out_features, device="meta")
    joined.weight = frozen(_by_head([layer.weight for layer in layers], heads))
    biases = [layer.bias for layer in layers if layer.bias is not None]
    joined.bias = frozen(_by_head(biases, heads)) if biases else None  # type: ignore[assignment]
    return Dense(joined)


def _by_head(tensors: Sequence[torch.Tensor], heads: int) -> torch.Tensor:
    """k of [heads * size, ...] -> [heads * k * size, ...]."""
    return torch.stack([t.reshape(heads, -1, *t.shape[1:]) for t in tensors], dim=1).flatten(0, 2)


def frozen(tensor: torch.Tensor) -> nn.Parameter:
    """A parameter without gradient."""
    return nn.Parameter(tensor.detach(), requires_grad=False)
