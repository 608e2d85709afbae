"""The U-Net of Stable Diffusion, channels last, as a sequence of blocks."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from torch import nn

from triptych.runtime.errors import SourceError
from triptych.runtime.families.conditioning import SAMPLE, TEXT
from triptych.runtime.families.parts import CALLS, KEY, MODEL, SHIFT, SHIFTS, TEXT_PART, TIME_PART, VALUE

from ..components import Component, Input, Sizes
from ..components.component import gaussian
from .cuda_blocks import Down, Exit, Pair, Resnet, Transformer, Up
from .cuda_conditioning import Text, Time, TimeTable
from .cuda_layers import Choices, Conv, State, Total

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
    """Channels-last `components.modules.UNet`, as three graphs: of the text, of time, and of the rest.

    Keys and values of the text are the same for all steps of an image, and shifts by time are known for all steps
    before the first. The rest takes both as inputs.

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
        self.text, self.time, self.body = Text(net), Time(net), Body(net, choices)

    def parts(self, component: Component, sizes: Sizes) -> dict[str, Component]:
        """The graphs by name, each as a component at these sizes."""
        text, rows = component.inputs[TEXT], sizes["batch_size"]
        pairs = {
            f"{name}{number}": (*text.shape[:2], width)
            for number, width in enumerate(self.text.widths)
            for name in (KEY, VALUE)
        }
        shifts = {f"{SHIFT}{number}": ("batch_size", width) for number, width in enumerate(self.time.widths)}
        times = {name: each for name, each in component.inputs.items() if name not in (SAMPLE, TEXT)}
        calls = {**sizes, CALLS: 2}
        return {
            TEXT_PART: replace(component, module=self.text, inputs={TEXT: text}, outputs=pairs),
            TIME_PART: replace(
                component,
                module=TimeTable(self.time, rows),
                inputs={**times, "timestep": replace(times["timestep"], shape=(CALLS,))},
                outputs={SHIFTS: (CALLS, rows * sum(self.time.widths))},
                default=calls,
                cases=(calls, calls),
            ),
            MODEL: replace(
                component,
                module=self.body,
                inputs={SAMPLE: component.inputs[SAMPLE]}
                | {name: Input(shape, gaussian()) for name, shape in (pairs | shifts).items()},
            ),
        }


class Body(nn.Module):
    """The U-Net without what `Text` and `Time` compute.

    Kernels for attention sum scores in float32, as `upcast_attention` demands.
    """

    def __init__(self, net: Any, choices: Choices) -> None:
        super().__init__()
        self.conv_in = Conv(net.conv_in, choices)
        self.down = nn.ModuleList(_going_down(net, choices))
        self.up = nn.ModuleList(_going_up(net, choices))
        self.exit = Exit(net.conv_norm_out, net.conv_out, choices)
        self.joins = sum(isinstance(block, Join) for block in self.up)

    def forward(self, sample: torch.Tensor, **inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Sample [n, C, h, w]; a key and value for each attention to the text, a shift for each Resnet, by number."""
        text = zip(_numbered(inputs, KEY), _numbered(inputs, VALUE), strict=False)
        shifts = _numbered(inputs, SHIFT)
        state: State = self.conv_in(sample.permute(0, 2, 3, 1))
        skips: list[torch.Tensor] = []
        for block in self.down:
            total, state = _run(block, state, text, shifts)
            # a block's input is a skip connection, but between a Resnet and its Transformer, and in the middle
            if not isinstance(block, Transformer) and len(skips) < self.joins:
                skips.append(total)
        for block in self.up:
            if isinstance(block, Join):
                state = block(state, skips.pop())
            elif isinstance(block, Up):
                _, state = block(state, (skips[-1].shape[1], skips[-1].shape[2]))
            else:
                _, state = _run(block, state, text, shifts)
        return (self.exit(state).permute(0, 3, 1, 2),)


class Join(nn.Module):
    """Computes the sum, if one is pending, and appends a skip connection's channels."""

    def __init__(self, *, summed: bool) -> None:
        super().__init__()
        self.total = Total() if summed else nn.Identity()

    def forward(self, state: State, skip: torch.Tensor) -> torch.Tensor:
        """State of [n, h, w, channels], [n, h, w, other channels] -> [n, h, w, both]."""
        return torch.cat([self.total(state), skip], dim=-1)


def _numbered(inputs: Mapping[str, torch.Tensor], name: str) -> Iterator[torch.Tensor]:
    return (inputs[f"{name}{number}"] for number in count())


def _run(
    block: nn.Module, state: State, text: Iterator[Pair], shifts: Iterator[torch.Tensor]
) -> tuple[torch.Tensor, State]:
    result: tuple[torch.Tensor, State]
    if isinstance(block, Resnet):
        result = block(state, next(shifts))
    else:
        result = block(state, text) if isinstance(block, Transformer) else block(state)
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
