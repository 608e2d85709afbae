"""Layers that can be quantized, and the ranges of their inputs and outputs while a model runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ..hooks import observed
from .affine import Affine


@dataclass
class Ranges:
    """The least and the greatest value of a layer's inputs and outputs, zero included."""

    input_low: float = 0.0
    input_high: float = 0.0
    output_low: float = 0.0
    output_high: float = 0.0

    @property
    def inputs(self) -> Affine:
        """Eight-bit numbers for the layer's inputs."""
        return Affine.covering(self.input_low, self.input_high)

    @property
    def outputs(self) -> Affine:
        """Eight-bit numbers for the layer's outputs."""
        return Affine.covering(self.output_low, self.output_high)

    def widen(self, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Extend the ranges to the values of these tensors."""
        low, high = inputs.aminmax()
        self.input_low, self.input_high = min(self.input_low, float(low)), max(self.input_high, float(high))
        low, high = outputs.aminmax()
        self.output_low, self.output_high = min(self.output_low, float(low)), max(self.output_high, float(high))


def quantizable(module: nn.Module) -> dict[str, nn.Module]:
    """Name -> layer of the convolutions and linear layers that have integer kernels.

    Subclasses are left out, as they may compute more than their parent.
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
def observed_ranges(module: nn.Module) -> Iterator[dict[str, Ranges]]:
    """Ranges of the quantizable layers, widened whenever the module runs inside the block; idle layers have none."""
    ranges: dict[str, Ranges] = {}

    def widen(name: str, _: nn.Module, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        ranges.setdefault(name, Ranges()).widen(inputs, outputs)

    with observed(quantizable(module), widen):
        yield ranges
