"""CLIP's layers with fused attention; the rest runs once per image and stays in standard operators."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from .cuda_layers import Attention, Choices, Dense


class ClipEncoder(nn.Module):
    """transformers' CLIPEncoder for text: each token attends to those before it and to itself.

    Layer normalization stays the standard operator: ONNX Runtime's fused one sums in float16, which overflows on
    CLIP's few very large activations.
    """

    def __init__(self, encoder: Any, choices: Choices) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(layer, choices) for layer in encoder.layers)

    def forward(self, inputs_embeds: torch.Tensor, **_: Any) -> BaseModelOutput:
        """[n, tokens, width] -> the same, in `last_hidden_state`."""
        x = inputs_embeds
        for layer in self.layers:
            x = layer(x)
        return BaseModelOutput(last_hidden_state=x)


class _Layer(nn.Module):
    def __init__(self, layer: Any, choices: Choices) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.norm1, self.norm2, self.activation = layer.layer_norm1, layer.layer_norm2, mlp.activation_fn
        self.attention = Attention(projections, attention.num_heads, choices, own=True, causal=True)
        self.out, self.up, self.down = Dense(attention.out_proj), Dense(mlp.fc1), Dense(mlp.fc2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normal = self.norm1(x)
        x = x + self.out(self.attention(normal, normal))
        mlp: torch.Tensor = self.down(self.activation(self.up(self.norm2(x))))
        return x + mlp
