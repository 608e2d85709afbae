"""CLIP's text encoder with fused attention; the rest runs once per image and stays in standard operators."""

from typing import Any

import torch
from torch import nn

from .cuda_layers import Choices, Dense, SelfAttention


class ClipText(nn.Module):
    """`components.modules.TextEncoder` of CLIP: each token attends to those before it and to itself.

    Layer normalization stays the standard operator: ONNX Runtime's fused one sums in float16, which overflows on
    CLIP's few very large activations. The pooled token is found by a minimum: ArgMax of integers runs on the CPU.

    Args:
        clip: transformers' CLIPTextModel or CLIPTextModelWithProjection.
        choices: see `Choices`.
        hidden_states: see `components.modules.TextEncoder`.
    """

    def __init__(self, clip: Any, choices: Choices, *, hidden_states: bool) -> None:
        super().__init__()
        model = getattr(clip, "text_model", clip)  # transformers 5 has the parts of CLIPTextModel bare
        self.embeddings, self.norm = model.embeddings, model.final_layer_norm
        self.layers = nn.ModuleList(_Layer(layer, choices) for layer in model.encoder.layers)
        self.projection = getattr(clip, "text_projection", None)
        self.end, self.hidden_states = model.eos_token_id, hidden_states

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        states = [self.embeddings(input_ids=input_ids)]
        for layer in self.layers:
            states.append(layer(states[-1]))
        last = self.norm(states[-1])
        pooled = last[torch.arange(len(last)), self._place(input_ids)]
        first = (last, pooled) if self.projection is None else (self.projection(pooled), last)
        return (*first, *(states if self.hidden_states else ()))

    def _place(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Place of the pooled token, int64 [n]: the first end token, or 0 without one.

        Old configurations state an id of 2, which no tokenizer gives: there it is the first one of the highest id.
        """
        end = input_ids.amax(1, keepdim=True) if self.end == _NO_END else self.end
        tokens = input_ids.shape[1]
        from_the_end = torch.arange(tokens) - tokens
        return torch.where(input_ids == end, from_the_end, 0).amin(1) % tokens


_NO_END = 2  # https://github.com/huggingface/transformers/pull/24773


class _Layer(nn.Module):
    def __init__(self, layer: Any, choices: Choices) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.norm1, self.norm2, self.activation = layer.layer_norm1, layer.layer_norm2, mlp.activation_fn
        self.attention = SelfAttention(projections, attention.num_heads, choices, causal=True)
        self.out, self.up, self.down = Dense(attention.out_proj), Dense(mlp.fc1), Dense(mlp.fc2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.out(self.attention(self.norm1(x)))
        mlp: torch.Tensor = self.down(self.activation(self.up(self.norm2(x))))
        return x + mlp
