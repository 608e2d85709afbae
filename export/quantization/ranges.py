"""Which layers can be quantised, and what flows in and out of them while a model runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .affine import Affine


@dataclass
class Ranges:
    """The least and the greatest value that a layer was given and has answered, zero included."""

    given_low: float = 0.0
    given_high: float = 0.0
    answered_low: float = 0.0
    answered_high: float = 0.0

    @property
    def given(self) -> Affine:
        """Eight bits for the layer's inputs."""
        return Affine.covering(self.given_low, self.given_high)

    @property
    def answered(self) -> Affine:
        """Eight bits for its outputs."""
        return Affine.covering(self.answered_low, self.answered_high)

    def widen(self, given: torch.Tensor, answered: torch.Tensor) -> None:
        """Reach these tensors' values, too."""
        low, high = given.aminmax()
        self.given_low, self.given_high = min(self.given_low, float(low)), max(self.given_high, float(high))
        low, high = answered.aminmax()
        self.answered_low, self.answered_high = min(self.answered_low, float(low)), max(self.answered_high, float(high))


def quantizable(module: nn.Module) -> dict[str, nn.Module]:
    """The convolutions and linear layers inside for which there are integer kernels, by name.

    Subclasses are left alone: what they do beyond their parent is not known.
    """
    return {
        name: layer
        for name, layer in module.named_modules()
        if type(layer) is nn.Linear
        or (
            type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros" and layer.padding != "same"
        )
    }


@contextmanager
def observed(module: nn.Module) -> Iterator[dict[str, Ranges]]:
    """Inside, whenever the module runs, the ranges of its quantizable layers are widened; layers not run are not in."""
    ranges: dict[str, Ranges] = {}

    def watch(name: str) -> Any:
        return lambda layer, inputs, output: ranges.setdefault(name, Ranges()).widen(inputs[0], output)

    hooks = [layer.register_forward_hook(watch(name)) for name, layer in quantizable(module).items()]
    try:
        yield ranges
    finally:
        for hook in hooks:
            hook.remove()
