"""Graphs that run before a U-Net: keys and values of the text, once per image, and shifts by time, once per run."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..components.modules import TimeEmbedding
from .cuda_layers import Dense, frozen


class Text(nn.Module):
    """Key and value of every attention to the text: [n, tokens, width] -> [n, tokens, channels], alternating.

    Args:
        net: diffusers' UNet2DConditionModel.

    Attributes:
        widths: channels of each pair, in the order of the blocks.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        attentions = list(_cross_attentions(net))
        self.widths = [each.to_k.out_features for each in attentions]
        self.layers = nn.ModuleList(Dense(layer) for each in attentions for layer in (each.to_k, each.to_v))

    def forward(self, encoder_hidden_states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        return tuple(layer(encoder_hidden_states) for layer in self.layers)


class Time(nn.Module):
    """Shift of each Resnet by the time embedding, with the bias of the convolution before it: a product per width.

    Args:
        net: diffusers' UNet2DConditionModel.

    Attributes:
        widths: channels of each shift, in the order of the blocks.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        resnets = [resnet for level in _levels(net) for resnet in level.resnets]
        self.embedding, self.widths = TimeEmbedding(net), [resnet.out_channels for resnet in resnets]
        self.products = nn.ModuleDict()
        for width in dict.fromkeys(self.widths):
            equal = [resnet for resnet in resnets if resnet.out_channels == width]
            joined = nn.Linear(1, 1, device="meta")
            joined.weight = frozen(torch.cat([resnet.time_emb_proj.weight for resnet in equal]))
            joined.bias = frozen(torch.cat([resnet.time_emb_proj.bias + resnet.conv1.bias for resnet in equal]))
            self.products[str(width)] = Dense(joined)

    def forward(self, timestep: torch.Tensor, *conditioning: torch.Tensor | None) -> list[torch.Tensor]:
        """Timestep [calls], conditioning [rows, ...] -> [calls, rows or 1, channels] for every Resnet, in order."""
        dtype = next(self.products.parameters()).dtype
        time = functional.silu(self.embedding(timestep[:, None], dtype, *conditioning))
        parts = {width: iter(product(time).split(int(width), dim=-1)) for width, product in self.products.items()}
        return [next(parts[str(width)]) for width in self.widths]


class TimeTable(nn.Module):
    """`Time` as a table: [calls, rows * channels of all Resnets], Resnet by Resnet, each row by row."""

    def __init__(self, time: Time, rows: int) -> None:
        super().__init__()
        self.time, self.rows = time, rows

    def forward(
        self,
        timestep: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        time_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """See the class."""
        shifts = self.time(timestep, timestep_cond, text_embeds, time_ids)
        rows = (shift[:, row % shift.shape[1]] for shift in shifts for row in range(self.rows))
        return (torch.cat(list(rows), dim=1),)


def _levels(net: Any) -> tuple[Any, ...]:
    return (*net.down_blocks, net.mid_block, *net.up_blocks)


def _cross_attentions(net: Any) -> Iterator[Any]:
    """Attentions to the text, in the order of the blocks."""
    for level in _levels(net):
        for transformer in getattr(level, "attentions", None) or ():
            yield from (block.attn2 for block in transformer.transformer_blocks)
