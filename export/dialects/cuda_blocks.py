"""Blocks of U-Nets and VAEs, channels last: each takes a state, and returns that state's value and the next state.

A residual sum at the end of one block is computed by the normalization at the start of the next, and returned from
there, for it is also a skip connection.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .cuda_layers import (
    Choices,
    Conv,
    CrossAttention,
    Dense,
    GroupNorm,
    SelfAttention,
    ShiftedGroupNorm,
    SplitGelu,
    State,
    Sum,
    SummedGroupNorm,
    SummedLayerNorm,
    Total,
    frozen,
)

Pair = tuple[torch.Tensor, torch.Tensor]
"""Key and value of the text for one block, [n, text tokens, channels] each."""


class Entry(nn.Module):
    """The normalization at the start of a block, of a tensor or of a sum."""

    def __init__(self, norm: nn.GroupNorm, *, summed: bool, silu: bool) -> None:
        super().__init__()
        self.norm = (SummedGroupNorm if summed else GroupNorm)(norm, silu=silu)

    def forward(self, state: State) -> tuple[torch.Tensor, torch.Tensor]:
        """State of [n, h, w, channels] -> normalized, value of the state."""
        if isinstance(state, Sum):
            normal, total = self.norm(state)
            return normal, total
        return self.norm(state), state


class Resnet(nn.Module):
    """diffusers' ResnetBlock2D. The bias of its first convolution is part of the shift by the time embedding."""

    def __init__(self, block: Any, choices: Choices, *, summed: bool) -> None:
        super().__init__()
        self.entry = Entry(block.norm1, summed=summed, silu=True)
        self.conv1 = Conv(block.conv1, choices, bias=False)
        self.norm2 = ShiftedGroupNorm(block.norm2, silu=True)
        self.conv2 = Conv(block.conv2, choices, bias=False)
        bias, shortcut = block.conv2.bias, block.conv_shortcut
        self.shortcut = None if shortcut is None else Conv(shortcut, choices, bias=False)
        self.bias = frozen(bias if shortcut is None or shortcut.bias is None else bias + shortcut.bias)
        self.shift = frozen(block.conv1.bias[None])

    def forward(self, state: State, shift: torch.Tensor | None = None) -> tuple[torch.Tensor, State]:
        """`shift` [n, channels] holds the bias of the first convolution; None where there is no time."""
        normal, x = self.entry(state)
        if shift is None:
            shift = self.shift.expand(x.shape[0], -1)
        hidden = self.conv2(self.norm2(self.conv1(normal), shift))
        return x, Sum(hidden, self.bias, x if self.shortcut is None else self.shortcut(x))


class TransformerBlock(nn.Module):
    """diffusers' BasicTransformerBlock: self-attention, attention to the text, feed-forward with GEGLU."""

    def __init__(self, block: Any, choices: Choices, *, summed: bool) -> None:
        super().__init__()
        self.norm1 = SummedLayerNorm(block.norm1) if summed else block.norm1
        self.norm2, self.norm3 = SummedLayerNorm(block.norm2), SummedLayerNorm(block.norm3)
        self.attention1 = self_attention(block.attn1, choices)
        self.attention2 = CrossAttention(block.attn2.to_q, block.attn2.heads)
        self.out1, self.out2 = (Dense(each.to_out[0], bias=False) for each in (block.attn1, block.attn2))
        geglu, _, out = block.ff.net
        self.up, self.gelu, self.down = (
            Dense(geglu.proj, bias=False),
            SplitGelu(geglu.proj.bias),
            Dense(out, bias=False),
        )
        self.biases = nn.ParameterList(
            frozen(layer.bias) for layer in (block.attn1.to_out[0], block.attn2.to_out[0], out)
        )

    def forward(self, state: State, key: torch.Tensor, value: torch.Tensor) -> Sum:
        """State of [n, tokens, channels], key and value of the text [n, text tokens, channels]."""
        normal, x = self.norm1(state) if isinstance(state, Sum) else (self.norm1(state), state)
        normal, x = self.norm2(Sum(self.out1(self.attention1(normal)), self.biases[0], x))
        normal, x = self.norm3(Sum(self.out2(self.attention2(normal, key, value)), self.biases[1], x))
        return Sum(self.down(self.gelu(self.up(normal))), self.biases[2], x)


class Transformer(nn.Module):
    """diffusers' Transformer2DModel on an image."""

    def __init__(self, model: Any, choices: Choices) -> None:
        super().__init__()
        self.entry = Entry(model.norm, summed=True, silu=False)
        linear = model.use_linear_projection
        self.linear, self.bias = linear, frozen(model.proj_out.bias)
        self.proj_in = Dense(model.proj_in) if linear else Conv(model.proj_in, choices)
        self.proj_out = Dense(model.proj_out, bias=False) if linear else Conv(model.proj_out, choices, bias=False)
        self.blocks = nn.ModuleList(
            TransformerBlock(block, choices, summed=number > 0) for number, block in enumerate(model.transformer_blocks)
        )
        self.total = Total()

    def forward(self, state: State, text: Iterator[Pair]) -> tuple[torch.Tensor, State]:
        """State of [n, h, w, channels]; `text` gives the key and value of each block."""
        normal, x = self.entry(state)
        image = self.proj_in(normal)
        tokens: State = image.flatten(1, 2)
        for block in self.blocks:
            tokens = block(tokens, *next(text))
        mixed = self.total(tokens).reshape(image.shape)
        return x, Sum(self.proj_out(mixed), self.bias, x)


class SpatialAttention(nn.Module):
    """diffusers' Attention in the middle of a VAE: every position of the image to every other."""

    def __init__(self, block: Any, choices: Choices) -> None:
        super().__init__()
        self.entry = Entry(block.group_norm, summed=True, silu=False)
        self.attention, self.out = self_attention(block, choices), Dense(block.to_out[0], bias=False)
        self.bias = frozen(block.to_out[0].bias)

    def forward(self, state: State) -> tuple[torch.Tensor, State]:
        """State of [n, h, w, channels]."""
        normal, x = self.entry(state)
        tokens = normal.flatten(1, 2)
        return x, Sum(self.out(self.attention(tokens)).reshape(x.shape), self.bias, x)


class Down(nn.Module):
    """diffusers' Downsample2D: half the height and width, rounded up; VAEs pad below and to the right only."""

    def __init__(self, block: Any, choices: Choices) -> None:
        super().__init__()
        self.pads = block.padding == 0
        self.total, self.conv = Total(), Conv(block.conv, choices)

    def forward(self, state: State) -> tuple[torch.Tensor, State]:
        """State of [n, h, w, channels]."""
        x = self.total(state) if isinstance(state, Sum) else state
        return x, self.conv(functional.pad(x, (0, 0, 0, 1, 0, 1)) if self.pads else x)


class Up(nn.Module):
    """diffusers' Upsample2D: every pixel twice in both directions, cropped to a size that may be odd, convolved."""

    def __init__(self, block: Any, choices: Choices) -> None:
        super().__init__()
        self.total, self.conv = Total(), Conv(block.conv, choices)

    def forward(self, state: State, size: tuple[int, int] | None = None) -> tuple[torch.Tensor, State]:
        """State of [n, h, w, channels]; `size` is the height and width to cut to."""
        x = self.total(state) if isinstance(state, Sum) else state
        rows, height, width, channels = x.shape
        twice = x[:, :, None, :, None].expand(-1, -1, 2, -1, 2, -1).reshape(rows, 2 * height, 2 * width, channels)
        return x, self.conv(twice if size is None else twice[:, : size[0], : size[1]])


class Exit(nn.Module):
    """The end of a network: normalization, SiLU, convolution, and back to channels first."""

    def __init__(self, norm: nn.GroupNorm, conv: nn.Conv2d, choices: Choices) -> None:
        super().__init__()
        self.entry, self.conv = Entry(norm, summed=True, silu=True), Conv(conv, choices)

    def forward(self, state: State) -> torch.Tensor:
        """State of [n, h, w, channels] -> [n, h, w, channels out]."""
        convolved: torch.Tensor = self.conv(self.entry(state)[0])
        return convolved


def self_attention(attention: Any, choices: Choices) -> SelfAttention:
    """diffusers' Attention of tokens to each other, without the linear layer after it."""
    return SelfAttention((attention.to_q, attention.to_k, attention.to_v), attention.heads, choices)
