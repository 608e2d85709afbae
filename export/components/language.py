"""Language models as text encoders, for export: from token ids to hidden states.

In float16 the residual stream, the sum that runs through all layers, is in float32: a few of its values leave the range
of float16 in T5 and in others. Products and normalizations are in the precision of the weights.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import NewGELUActivation


class ScaledLinear(nn.Module):
    """A linear layer without bias into the residual stream, of x or of x times `gate`: [..., in] -> [..., out].

    In float16 it computes on inputs times `SCALE`, a power of two, and gives float32: its outputs may be as large as
    the residual stream. transformers keeps these layers of T5 in float32 for that reason, at twice the memory.
    """

    SCALE = 2.0**-6

    weight = None
    """T5's feed-forward casts its values to the dtype of this layer's weight, if there is one."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        """See the class."""
        half = x.dtype == torch.float16
        x = x * self.SCALE if half else x
        y: torch.Tensor = self.linear(x if gate is None else x * gate)
        return y.float() / self.SCALE if half else y


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, or three with a gate: [n, tokens, width] -> the same."""

    def __init__(self, activation: nn.Module, inner: nn.Linear, up: nn.Linear | None, down: ScaledLinear) -> None:
        super().__init__()
        if isinstance(activation, NewGELUActivation):  # written out, it is eight operators
            activation = nn.GELU("tanh")
        self.activation, self.inner, self.up, self.down = activation, inner, up, down

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        active = self.activation(self.inner(x))
        y: torch.Tensor = self.down(active) if self.up is None else self.down(self.up(x), active)
        return y


class BiasedAttention(nn.Module):
    """Attention whose scores have a bias added, which masks tokens where it is very low.

    Query, key and value [n, tokens, width], bias [n or 1, heads or 1, tokens, tokens] -> [n, tokens, width].
    """

    def __init__(self, heads: int, scale: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """See the class."""
        q, k, v = (each.reshape(*each.shape[:2], self.heads, -1).transpose(1, 2) for each in (query, key, value))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)
        return mixed.transpose(1, 2).flatten(2)


def masked(bias: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """The bias of scores, with the lowest value where a token is not visible; half of it, so that no sum overflows."""
    return torch.where(visible, bias, torch.finfo(bias.dtype).min / 2)


class T5Encoder(nn.Module):
    """T5's encoder: input_ids int64 [n, tokens] -> last_hidden_state [n, tokens, width].

    With `attention_mask` int64 [n, tokens], tokens where it is 0 are not attended to.
    """

    def __init__(self, t5: Any) -> None:
        super().__init__()
        stack = t5.encoder
        self.embed, self.norm = stack.embed_tokens, stack.final_layer_norm
        self.distances = RelativeBias(stack.block[0].layer[0].SelfAttention)
        self.layers = nn.ModuleList(T5Layer(block) for block in stack.block)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """See the class."""
        bias = self.distances(input_ids.shape[1])
        if attention_mask is not None:
            bias = masked(bias, (attention_mask != 0)[:, None, None])
        x = self.embed(input_ids).float()
        for layer in self.layers:
            x = layer(x, bias)
        return (self.norm(x).to(bias.dtype),)


class T5Layer(nn.Module):
    """A layer of T5's encoder: residual stream [n, tokens, width], bias of the scores -> residual stream.

    Scores are not divided by the root of the head's size.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        attention, feed_forward = block.layer
        self.norm1, self.norm2 = attention.layer_norm, feed_forward.layer_norm
        projections = attention.SelfAttention
        self.q, self.k, self.v, self.o = projections.q, projections.k, projections.v, projections.o
        self.attention = BiasedAttention(projections.n_heads, 1.0)
        dense = feed_forward.DenseReluDense
        dense.wo = ScaledLinear(dense.wo)
        gated = hasattr(dense, "wi_1")
        inner, up = (dense.wi_0, dense.wi_1) if gated else (dense.wi, None)
        self.feed_forward = FeedForward(dense.act, inner, up, dense.wo)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """See the class."""
        normal = self.norm1(x).to(bias.dtype)
        x = x + self.o(self.attention(self.q(normal), self.k(normal), self.v(normal), bias))
        out: torch.Tensor = x + self.feed_forward(self.norm2(x).to(bias.dtype))
        return out


class RelativeBias(nn.Module):
    """Bias of T5's attention scores by the distance between two tokens: number of tokens -> [1, heads, tokens, tokens].

    All distances above `farthest` have one bias, so that a table of those up to it is whole.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.farthest = attention.relative_attention_max_distance
        self.biases = attention.relative_attention_bias
        distances = torch.arange(-self.farthest, self.farthest + 1)
        self.buckets = attention._relative_position_bucket(
            distances, num_buckets=attention.relative_attention_num_buckets, max_distance=self.farthest
        )

    def forward(self, tokens: int) -> torch.Tensor:
        """See the class."""
        places = torch.arange(tokens)
        distances = (places[None] - places[:, None]).clamp(-self.farthest, self.farthest)
        bias: torch.Tensor = self.biases(self.buckets[distances + self.farthest])  # [tokens, tokens, heads]
        return bias.permute(2, 0, 1)[None]


class CausalEncoder(nn.Module):
    """Hidden states of a decoder-only language model (Qwen3), without the layers after the last one that is used.

    input_ids, attention_mask int64 [n, tokens] -> prompt_embeds float32 [n, tokens, states * width].

    Args:
        model: transformers' Qwen3Model.
        states: numbers of the hidden states, which are side by side in the result; 0 is the embedding of the tokens.
    """

    def __init__(self, model: Any, states: Sequence[int]) -> None:
        super().__init__()
        self.states = tuple(states)
        self.embed = model.embed_tokens
        self.layers = nn.ModuleList(CausalLayer(layer) for layer in model.layers[: max(states)])
        self.frequencies = model.rotary_emb.inv_freq.float()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        places = torch.arange(input_ids.shape[1])
        visible = (places[None] <= places[:, None])[None, None] & (attention_mask != 0)[:, None, None]
        angles = places[:, None] * self.frequencies
        embedded = self.embed(input_ids)
        bias = masked(embedded.new_zeros(1), visible)
        rotation = [each.to(embedded.dtype)[:, None] for each in (angles.cos(), angles.sin())]
        states = [embedded.float()]
        for layer in self.layers:
            states.append(layer(states[-1], bias, *rotation))
        return (torch.cat([states[number] for number in self.states], dim=-1),)


class CausalLayer(nn.Module):
    """A layer of Qwen3: residual stream [n, tokens, width], bias, cosines and sines -> residual stream."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        projections, mlp = layer.self_attn, layer.mlp
        self.norm1, self.norm2 = layer.input_layernorm, layer.post_attention_layernorm
        self.q, self.k, self.v, self.o = (getattr(projections, f"{name}_proj") for name in "qkvo")
        self.q_norm, self.k_norm, self.size = projections.q_norm, projections.k_norm, projections.head_dim
        heads = self.q.out_features // self.size
        self.repeats = heads // (self.k.out_features // self.size)
        self.attention = BiasedAttention(heads, projections.scaling)
        self.feed_forward = FeedForward(mlp.act_fn, mlp.gate_proj, mlp.up_proj, ScaledLinear(mlp.down_proj))

    def forward(self, x: torch.Tensor, bias: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """See the class; cosines and sines are [tokens, 1, size of a head / 2]."""
        normal = self.norm1(x).to(bias.dtype)
        q, k, v = (each(normal).unflatten(2, (-1, self.size)) for each in (self.q, self.k, self.v))
        q, k = (rotated(norm(x).to(bias.dtype), cos, sin) for norm, x in ((self.q_norm, q), (self.k_norm, k)))
        k, v = (self._repeated(each) for each in (k, v))
        x = x + self.o(self.attention(q.flatten(2), k.flatten(2), v.flatten(2), bias))
        out: torch.Tensor = x + self.feed_forward(self.norm2(x).to(bias.dtype))
        return out

    def _repeated(self, x: torch.Tensor) -> torch.Tensor:
        """Each head as often as queries share it, [n, tokens, heads, size]."""
        return x if self.repeats == 1 else x[:, :, :, None].expand(-1, -1, -1, self.repeats, -1).flatten(2, 3)


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021) of [n, tokens, heads, size], whose two halves are the parts of each pair."""
    one, other = x.chunk(2, dim=-1)
    return torch.cat([one * cos - other * sin, other * cos + one * sin], dim=-1)
