"""Overflow of float16: the largest value of a component while it runs in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ..components.language import ScaledLinear
from ..hooks import hooked

LIMIT = float(torch.finfo(torch.float16).max)
"""65,504, the largest finite float16."""

HEADROOM = 2.0
"""Factor by which random inputs must stay below LIMIT: images have extremes that noise has not."""


@dataclass
class Largest:
    """The largest absolute value of any module's output, as it would be in float16.

    `added` is the largest that is added to a residual stream in float32, see `components.language`; 0 without one.
    """

    value: float = 0.0
    added: float = 0.0

    @property
    def overflows(self) -> bool:
        """Whether the value is too large for float16, with HEADROOM."""
        return self.value * HEADROOM > LIMIT

    @property
    def reason(self) -> str | None:
        """The reason to keep a component in float32; None where it does not overflow."""
        return f"values reach {self.value:,.0f}, and float16 ends at {LIMIT:,.0f}" if self.overflows else None

    @property
    def fp32_inside(self) -> str | None:
        """The part of a component in float16 that is in float32."""
        return f"the residual stream, to which up to {self.added:,.0f} is added" if self.added else None


@contextmanager
def largest_value(module: nn.Module) -> Iterator[Largest]:
    """Track the largest output of `module` and the modules inside it while they run in float32."""
    largest = Largest()
    layers = [part for part in module.modules() if isinstance(part, ScaledLinear)]
    scales: dict[nn.Module, float] = {each: part.SCALE for part in layers for each in (part, part.linear)}

    def look(part: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        values = output if isinstance(output, tuple) else (output,)
        for tensor in (*values, *inputs) if part in scales else values:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                value, scale = float(tensor.abs().max()), scales.get(part, 1.0)
                largest.value = max(largest.value, value * scale)
                if part in scales and tensor is output:
                    largest.added = max(largest.added, value)

    with hooked(part.register_forward_hook(look) for part in module.modules()):
        yield largest
