"""The cpu operator set: fused kernels of ONNX Runtime's CPU provider for attention and activations."""

from functools import partial
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from diffusers.models.normalization import RMSNorm
from diffusers.models.upsampling import Upsample2D
from torch import nn
from transformers.activations import QuickGELUActivation
from transformers.models.clip.modeling_clip import CLIPAttention

from ..quiet import quiet
from .dialect import Dialect, FusedModule, once
from .joint_attention import fuse_joint_attention, fuse_rms_norm
from .language import LANGUAGE_MODELS
from .operators import MULTI_HEAD_ATTENTION, QUICK_GELU, multi_head_attention, quick_gelu
from .upsample import phase_upsample

with quiet():  # an import of diffusers 0.36 warns where there is no GPU
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertAttention


class FusedAttention(FusedModule):
    """diffusers' `Attention` on tokens [n, tokens, width], or on images [n, width, h, w] with norm and residual."""

    emits = once(MULTI_HEAD_ATTENTION)

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.group_norm = attention.heads, attention.group_norm
        self.to_q, self.to_k, self.to_v, self.to_out = (
            attention.to_q,
            attention.to_k,
            attention.to_v,
            attention.to_out[0],
        )
        self.residual_connection = attention.residual_connection
        self.rescale_output_factor = attention.rescale_output_factor

    def forward(
        self, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor | None = None, **_: Any
    ) -> torch.Tensor:
        """See the class."""
        residual, tokens = hidden_states, hidden_states
        if self.group_norm is not None:
            tokens = self.group_norm(tokens)
        if residual.ndim == 4:
            tokens = tokens.reshape(*tokens.shape[:2], -1).transpose(1, 2)
        context = tokens if encoder_hidden_states is None else encoder_hidden_states
        attended = multi_head_attention(self.to_q(tokens), self.to_k(context), self.to_v(context), self.heads, False)
        result: torch.Tensor = self.to_out(attended)
        if residual.ndim == 4:
            result = result.transpose(1, 2).reshape(residual.shape)
        if self.residual_connection:
            result = result + residual
        return result if self.rescale_output_factor == 1 else result / self.rescale_output_factor


def fuse_attention(attention: Attention) -> nn.Module:
    """The fused attention, or the module itself where it does more than the operator."""
    plain = (
        type(attention.processor) in (AttnProcessor, AttnProcessor2_0)
        and not attention.norm_cross
        and all(
            getattr(attention, part, None) is None
            for part in ("spatial_norm", "norm_q", "norm_k", "add_k_proj", "add_q_proj")
        )
    )
    return FusedAttention(attention) if plain else fuse_joint_attention(attention)


class FusedTextAttention(FusedModule):
    """A text encoder's attention on tokens [n, tokens, width]; with `causal`, CLIP's, a token sees those before it."""

    emits = once(MULTI_HEAD_ATTENTION)

    def __init__(self, attention: CLIPAttention | LDMBertAttention, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = attention.num_heads, causal
        self.q_proj, self.k_proj, self.v_proj = attention.q_proj, attention.k_proj, attention.v_proj
        self.out_proj = attention.out_proj

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, None]:
        """See the class."""
        query, key, value = (project(hidden_states) for project in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(multi_head_attention(query, key, value, self.heads, self.causal)), None


class FusedSwish(FusedModule):
    """x sigmoid(alpha x): SiLU at alpha 1, CLIP's approximation of GELU at 1.702."""

    emits = once(QUICK_GELU)

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        y: torch.Tensor = quick_gelu(x, self.alpha)
        return y


class SplitGeglu(nn.Module):
    """GEGLU with a product for each half, [n, tokens, width] -> [n, tokens, inner]: no tensor has to be split."""

    def __init__(self, geglu: GEGLU) -> None:
        super().__init__()
        self.value, self.gate = _halves(geglu.proj)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """See the class."""
        value: torch.Tensor = self.value(hidden_states)
        return value * nn.functional.gelu(self.gate(hidden_states))


def _halves(linear: nn.Linear) -> list[nn.Linear]:
    """Two linear layers for the first and the second half of the outputs, on views of the weights."""
    halves = []
    for rows in (slice(None, linear.out_features // 2), slice(linear.out_features // 2, None)):
        half = nn.Linear(linear.in_features, linear.out_features // 2, bias=linear.bias is not None, device="meta")
        half.weight = nn.Parameter(linear.weight[rows], requires_grad=False)
        if linear.bias is not None:
            half.bias = nn.Parameter(linear.bias[rows], requires_grad=False)
        halves.append(half)
    return halves


_SILU, _QUICK_GELU = FusedSwish(1.0), FusedSwish(1.702)

CPU_DIALECT = Dialect(
    "cpu",
    {
        Attention: fuse_attention,
        RMSNorm: fuse_rms_norm,
        CLIPAttention: partial(FusedTextAttention, causal=True),
        **LANGUAGE_MODELS,
        LDMBertAttention: partial(FusedTextAttention, causal=False),
        GEGLU: SplitGeglu,
        Upsample2D: phase_upsample,
        nn.SiLU: lambda silu: _SILU,
        QuickGELUActivation: lambda gelu: _QUICK_GELU,
    },
    optimised=True,
)
