"""Attention of image and text tokens together, with its normalization, in operators of ONNX Runtime for CPU and CUDA.

Source: Esser et al. 2024 (Stable Diffusion 3), figure 2.
"""

from typing import Any

import torch
from diffusers.models.attention_processor import Attention, JointAttnProcessor2_0
from diffusers.models.normalization import RMSNorm
from torch import nn

from .dialect import FusedModule, once
from .operators import MULTI_HEAD_ATTENTION, RMS_NORM, multi_head_attention, rms_norm


class FusedJointAttention(FusedModule):
    """diffusers' `Attention` with `JointAttnProcessor2_0`, on tokens [n, tokens, width] of the image, and of the text.

    Without text tokens the result is that of the image tokens; else it is a pair.
    """

    emits = once(MULTI_HEAD_ATTENTION)

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads, self.out = attention.heads, attention.to_out[0]
        self.image = Projections(
            (attention.to_q, attention.to_k, attention.to_v), (attention.norm_q, attention.norm_k), self.heads
        )
        self.text = self.text_out = None
        if attention.added_kv_proj_dim is not None:
            layers = (attention.add_q_proj, attention.add_k_proj, attention.add_v_proj)
            self.text = Projections(layers, (attention.norm_added_q, attention.norm_added_k), self.heads)
            self.text_out = None if attention.context_pre_only else attention.to_add_out

    def forward(
        self, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        tokens = self.image(hidden_states)
        if encoder_hidden_states is None or self.text is None:
            alone: torch.Tensor = self.out(multi_head_attention(*tokens, self.heads, False))
            return alone
        pairs = zip(tokens, self.text(encoder_hidden_states), strict=True)
        attended = multi_head_attention(*(torch.cat(pair, dim=1) for pair in pairs), self.heads, False)
        image, text = attended[:, : hidden_states.shape[1]], attended[:, hidden_states.shape[1] :]
        return self.out(image), text if self.text_out is None else self.text_out(text)


class Projections(nn.Module):
    """Query, key and value of tokens [n, tokens, width], of which the first two may be normalized head by head."""

    def __init__(self, layers: tuple[nn.Module, ...], norms: tuple[nn.Module | None, ...], heads: int) -> None:
        super().__init__()
        self.layers, self.heads = nn.ModuleList(layers), heads
        self.norms = nn.ModuleList(nn.Identity() if norm is None else norm for norm in (*norms, None))

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        projected = (layer(tokens) for layer in self.layers)
        return tuple(
            each if isinstance(norm, nn.Identity) else norm(each.reshape(*each.shape[:2], self.heads, -1)).flatten(2)
            for norm, each in zip(self.norms, projected, strict=True)
        )


class FusedHeadNorm(FusedModule):
    """diffusers' `RMSNorm` of queries and keys, in the precision of the graph: [..., width] -> the same."""

    emits = once(RMS_NORM)

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.epsilon = norm.weight, norm.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        normal: torch.Tensor = rms_norm(x, self.weight, self.epsilon)
        return normal


def fuse_joint_attention(attention: Attention) -> nn.Module:
    """The fused attention, or the module itself where it does something else."""
    return FusedJointAttention(attention) if type(attention.processor) is JointAttnProcessor2_0 else attention


def fuse_rms_norm(norm: RMSNorm) -> nn.Module:
    """The fused normalization, or the module itself where it has no weight, or a bias."""
    return norm if norm.weight is None or norm.bias is not None else FusedHeadNorm(norm)
