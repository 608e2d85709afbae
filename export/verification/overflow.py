"""Overflow of float16: the largest value of a component while it runs in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ..hooks import hooked

LIMIT = float(torch.finfo(torch.float16).max)
"""65,504, the largest finite float16."""

HEADROOM = 2.0
"""Factor by which random inputs must stay below LIMIT: images have extremes that noise has not."""


@dataclass
class Largest:
    """The largest absolute value of any module's output."""

    value: float = 0.0

    @property
    def overflows(self) -> bool:
        """Whether the value is too large for float16, with HEADROOM."""
        return self.value * HEADROOM > LIMIT


@contextmanager
def largest_value(module: nn.Module) -> Iterator[Largest]:
    """Track the largest output of `module` and the modules inside it while they run in float32."""
    largest = Largest()

    def look(_: nn.Module, __: object, output: object) -> None:
        for tensor in output if isinstance(output, tuple) else (output,):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                largest.value = max(largest.value, float(tensor.abs().max()))

    with hooked(part.register_forward_hook(look) for part in module.modules()):
        yield largest
