"""Language models in operators that ONNX Runtime has for the CPU and for CUDA: attention and RMS normalization."""

from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import nn
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from ..components.language import BiasedAttention
from .dialect import FusedModule, Replace, once
from .operators import MULTI_HEAD_ATTENTION, RMS_NORM, biased_attention, rms_norm


class FusedBiasedAttention(FusedModule):
    """See `components.language.BiasedAttention`."""

    emits = once(MULTI_HEAD_ATTENTION)

    def __init__(self, attention: BiasedAttention) -> None:
        super().__init__()
        self.heads, self.scale = attention.heads, attention.scale

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """See the class."""
        mixed: torch.Tensor = biased_attention(query, key, value, bias, self.heads, self.scale)
        return mixed


class FusedRmsNorm(FusedModule):
    """Normalization by the root mean square, times a weight for each channel, in float32 in every precision.

    It takes the residual stream, which is in float32, too.
    """

    emits = once(RMS_NORM)

    def __init__(self, norm: T5LayerNorm | Qwen3RMSNorm) -> None:
        super().__init__()
        self.weight = nn.Parameter(norm.weight.detach().float(), requires_grad=False)
        self.epsilon = norm.variance_epsilon

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Do nothing: casting the network leaves the weight in float32."""
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., width] -> the same, float32."""
        y: torch.Tensor = rms_norm(x.float(), self.weight, self.epsilon)
        return y


LANGUAGE_MODELS: Mapping[type[nn.Module], Replace] = {
    BiasedAttention: FusedBiasedAttention,
    T5LayerNorm: FusedRmsNorm,
    Qwen3RMSNorm: FusedRmsNorm,
}
"""Class of a module -> its replacement, in both operator sets."""
