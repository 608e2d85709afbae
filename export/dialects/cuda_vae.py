"""The decoder and the encoder of a VAE, channels last, each as a sequence of blocks."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from triptych.runtime.errors import SourceError

from .cuda_blocks import Down, Exit, Resnet, SpatialAttention, Up
from .cuda_layers import Choices, Conv, State


class ChannelsLastDecoder(nn.Module):
    """Channels-last `components.modules.Decoder`: latents -> images, both channels first.

    Args:
        quant: the 1x1 convolution before the decoder, or None.
        decoder: diffusers' Decoder.
        choices: see `Choices`.
    """

    def __init__(self, quant: nn.Conv2d | None, decoder: Any, choices: Choices) -> None:
        super().__init__()
        _check(decoder)
        self.quant = None if quant is None else Conv(quant, choices)
        self.conv_in = Conv(decoder.conv_in, choices)
        self.blocks = nn.ModuleList(
            [*_middle(decoder.mid_block, choices, summed=False), *_levels(decoder.up_blocks, choices, summed=True)]
        )
        self.exit = Exit(decoder.conv_norm_out, decoder.conv_out, choices)

    def forward(self, latent_sample: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        x = latent_sample.permute(0, 2, 3, 1)
        state: State = self.conv_in(x if self.quant is None else self.quant(x))
        for block in self.blocks:
            _, state = block(state)
        return (self.exit(state).permute(0, 3, 1, 2),)


class ChannelsLastEncoder(nn.Module):
    """Channels-last `components.modules.Encoder`: images -> means and log variances, both channels first.

    Args:
        encoder: diffusers' Encoder.
        quant: the 1x1 convolution after the encoder, or None.
        choices: see `Choices`.
    """

    def __init__(self, encoder: Any, quant: nn.Conv2d | None, choices: Choices) -> None:
        super().__init__()
        _check(encoder)
        self.conv_in = Conv(encoder.conv_in, choices)
        self.blocks = nn.ModuleList(
            [*_levels(encoder.down_blocks, choices, summed=False), *_middle(encoder.mid_block, choices, summed=True)]
        )
        self.exit = Exit(encoder.conv_norm_out, encoder.conv_out, choices)
        self.quant = None if quant is None else Conv(quant, choices)

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        state: State = self.conv_in(sample.permute(0, 2, 3, 1))
        for block in self.blocks:
            _, state = block(state)
        moments = self.exit(state)
        return ((moments if self.quant is None else self.quant(moments)).permute(0, 3, 1, 2),)


def _levels(levels: Any, choices: Choices, *, summed: bool) -> Iterator[nn.Module]:
    """The blocks of all levels on the way up or down; `summed` is whether the input is a sum."""
    for level in levels:
        for resnet in level.resnets:
            yield Resnet(resnet, choices, summed=summed)
            summed = True
        for block in getattr(level, "upsamplers", None) or ():
            yield Up(block, choices)
            summed = False
        for block in getattr(level, "downsamplers", None) or ():
            yield Down(block, choices)
            summed = False


def _middle(middle: Any, choices: Choices, *, summed: bool) -> Iterator[nn.Module]:
    yield Resnet(middle.resnets[0], choices, summed=summed)
    for attention, resnet in zip(middle.attentions, middle.resnets[1:], strict=True):
        if attention is not None:
            yield SpatialAttention(attention, choices)
        yield Resnet(resnet, choices, summed=True)


def _check(coder: Any) -> None:
    """Refuse normalizations other than group norm, which have no counterpart here."""
    if type(coder.conv_norm_out) is not nn.GroupNorm:
        name = type(coder.conv_norm_out).__name__
        raise SourceError(f"the cuda operator set has no VAE with {name} at its end; use portable")
