"""The U-Net of Stable Diffusion, channels last, as a sequence of blocks."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from triptych.runtime.errors import SourceError

from ..components.modules import TimeEmbedding
from .cuda_blocks import Down, Exit, Resnet, Transformer, Up
from .cuda_layers import Choices, Conv, Dense, State, Total, frozen

_PLAIN = {
    "resnet_time_scale_shift": "default",
    "resnet_out_scale_factor": 1.0,
    "mid_block_scale_factor": 1,
    "resnet_skip_time_act": False,
    "dual_cross_attention": False,
    "only_cross_attention": False,
    "attention_type": "default",
    "act_fn": "silu",
}


class ChannelsLastUNet(nn.Module):
    """Channels-last `components.modules.UNet`: sample, timestep and conditioning -> out_sample, both channels first.

    Kernels for attention sum scores in float32, as `upcast_attention` demands.

    Args:
        net: diffusers' UNet2DConditionModel.
        choices: see `Choices`.

    Raises:
        SourceError: the network has parts without a counterpart here.
    """

    def __init__(self, net: Any, choices: Choices) -> None:
        super().__init__()
        for option, value in _PLAIN.items():
            if net.config.get(option, value) not in (value, None):
                raise SourceError(
                    f"the cuda operator set has no U-Net with {option}={net.config[option]!r}; use portable"
                )
        self.time = TimeEmbedding(net)
        self.conv_in = Conv(net.conv_in, choices)
        self.down = nn.ModuleList(_going_down(net, choices))
        self.up = nn.ModuleList(_going_up(net, choices))
        self.exit = Exit(net.conv_norm_out, net.conv_out, choices)
        self.joins = sum(isinstance(block, Join) for block in self.up)
        self.shifts = Shifts(net)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        time_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """See the class."""
        time = self.time(timestep.reshape(1), sample.dtype, timestep_cond, text_embeds, time_ids)
        shifts = iter(self.shifts(functional.silu(time), sample.shape[0]))
        state: State = self.conv_in(sample.permute(0, 2, 3, 1))
        skips: list[torch.Tensor] = []
        for block in self.down:
            total, state = _run(block, state, shifts, encoder_hidden_states)
            # a block's input is a skip connection, but between a Resnet and its Transformer, and in the middle
            if not isinstance(block, Transformer) and len(skips) < self.joins:
                skips.append(total)
        for block in self.up:
            if isinstance(block, Join):
                state = block(state, skips.pop())
            elif isinstance(block, Up):
                _, state = block(state, (skips[-1].shape[1], skips[-1].shape[2]))
            else:
                _, state = _run(block, state, shifts, encoder_hidden_states)
        return (self.exit(state).permute(0, 3, 1, 2),)


class Shifts(nn.Module):
    """Shift of each Resnet by the time embedding, with the bias of the convolution before it: a product per width.

    One product for all would be split unevenly, for which ONNX Runtime copies sizes from the host: in a captured CUDA
    graph, versions before its pull request 32121 read them from memory that has been freed.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        levels = (*net.down_blocks, net.mid_block, *net.up_blocks)
        resnets = [resnet for level in levels for resnet in level.resnets]
        self.widths = [resnet.out_channels for resnet in resnets]
        self.products = nn.ModuleDict()
        for width in dict.fromkeys(self.widths):
            equal = [resnet for resnet in resnets if resnet.out_channels == width]
            joined = nn.Linear(1, 1, device="meta")
            joined.weight = frozen(torch.cat([resnet.time_emb_proj.weight for resnet in equal]))
            joined.bias = frozen(torch.cat([resnet.time_emb_proj.bias + resnet.conv1.bias for resnet in equal]))
            self.products[str(width)] = Dense(joined)

    def forward(self, time: torch.Tensor, rows: int) -> list[torch.Tensor]:
        """[1 or rows, width of the time embedding] -> [rows, channels] for every Resnet, in their order."""
        parts = {
            width: iter(product(time).expand(rows, -1).split(int(width), dim=1))
            for width, product in self.products.items()
        }
        return [next(parts[str(width)]) for width in self.widths]


class Join(nn.Module):
    """Computes the sum, if one is pending, and appends a skip connection's channels."""

    def __init__(self, *, summed: bool) -> None:
        super().__init__()
        self.total = Total() if summed else nn.Identity()

    def forward(self, state: State, skip: torch.Tensor) -> torch.Tensor:
        """State of [n, h, w, channels], [n, h, w, other channels] -> [n, h, w, both]."""
        return torch.cat([self.total(state), skip], dim=-1)


def _run(
    block: nn.Module, state: State, shifts: Iterator[torch.Tensor], context: torch.Tensor
) -> tuple[torch.Tensor, State]:
    result: tuple[torch.Tensor, State]
    if isinstance(block, Resnet):
        result = block(state, next(shifts))
    else:
        result = block(state, context) if isinstance(block, Transformer) else block(state)
    return result


def _going_down(net: Any, choices: Choices) -> Iterator[nn.Module]:
    """The blocks from the first convolution to the end of the middle."""
    summed = False
    for level in net.down_blocks:
        for resnet, attention in _pairs(level):
            yield Resnet(resnet, choices, summed=summed)
            summed = True
            if attention is not None:
                yield Transformer(attention, choices)
        for block in level.downsamplers or ():
            yield Down(block, choices)
            summed = False
    middle = net.mid_block
    yield Resnet(middle.resnets[0], choices, summed=summed)
    for attention, resnet in zip(middle.attentions, middle.resnets[1:], strict=True):
        yield Transformer(attention, choices)
        yield Resnet(resnet, choices, summed=True)


def _going_up(net: Any, choices: Choices) -> Iterator[nn.Module]:
    """The blocks from the middle to the last normalization; every Resnet is preceded by a Join."""
    summed = True
    for level in net.up_blocks:
        for resnet, attention in _pairs(level):
            yield Join(summed=summed)
            yield Resnet(resnet, choices, summed=False)
            summed = True
            if attention is not None:
                yield Transformer(attention, choices)
        for block in level.upsamplers or ():
            yield Up(block, choices)
            summed = False


def _pairs(level: Any) -> Iterator[tuple[Any, Any]]:
    """Each Resnet of a level with its Transformer, or with None."""
    attentions = getattr(level, "attentions", None) or [None] * len(level.resnets)
    return zip(level.resnets, attentions, strict=True)
