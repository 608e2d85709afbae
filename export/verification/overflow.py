"""Does a component stay within float16? It is run, and the largest number anywhere in it is looked at."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ..hooks import hooked

LIMIT = float(torch.finfo(torch.float16).max)
"""65,504: what is larger is infinite in float16."""

HEADROOM = 2.0
"""How far below that random inputs must stay: pictures have extremes that noise has not."""


@dataclass
class Largest:
    """The largest absolute value that any module gave."""

    value: float = 0.0

    @property
    def overflows(self) -> bool:
        """Whether it is too large for float16, with some headroom."""
        return self.value * HEADROOM > LIMIT


@contextmanager
def largest_value(module: nn.Module) -> Iterator[Largest]:
    """What `module` and those inside it give while they run, in float32."""
    largest = Largest()

    def look(_: nn.Module, __: object, answer: object) -> None:
        for tensor in answer if isinstance(answer, tuple) else (answer,):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                largest.value = max(largest.value, float(tensor.abs().max()))

    with hooked(part.register_forward_hook(look) for part in module.modules()):
        yield largest
