"""A graph to export: a module with named inputs and outputs, and the reference that it must equal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

Shape = tuple[int | str, ...]
"""Sizes of fixed axes and names of open ones. An output's axis may be a name with `* 8` or `// 8` after it."""

Sizes = Mapping[str, int]
"""Name of an axis -> its size."""

Array = np.ndarray
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True)
class Input:
    """An input: `draw` gives values of the kind seen in use.

    `dtype` is that of the graph in every precision: torch.int64 for tokens; torch.float32 for times and sizes, of which
    float16 would round those that are not integers, and those above 2048. None is the graph's precision.
    """

    shape: Shape
    draw: Draw
    dtype: torch.dtype | None = None


@dataclass(frozen=True)
class Component:
    """A graph to export.

    Attributes:
        name: of its folder in the package.
        config: its config.json.
        module: takes the inputs by name and returns the outputs in order.
        reference: the function that the module must equal: the checkpoint's own module, called as diffusers calls it.
        inputs: name -> input, in order.
        outputs: name -> shape, in order.
        default: size of every axis for one image of the checkpoint's own size.
        cases: sizes to verify at.
        keeps_fp32: the reason why it is in float32 even in packages in float16; None where it is not.
        original: the checkpoint's own module.
    """

    name: str
    config: Mapping[str, Any]
    module: nn.Module
    reference: Callable[..., tuple[torch.Tensor, ...]]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Shape]
    default: Sizes
    cases: tuple[Sizes, ...]
    keeps_fp32: str | None = None
    original: nn.Module | None = None

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """The shape of every input at these sizes."""
        return {
            name: tuple(sizes[axis] if isinstance(axis, str) else axis for axis in declared.shape)
            for name, declared in self.inputs.items()
        }

    def zeros(self, sizes: Sizes, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Zeros for every input at these sizes, for tracing and counting; `dtype` is the graph's precision."""
        return {
            name: torch.zeros(shape, dtype=self.inputs[name].dtype or dtype)
            for name, shape in self.shapes(sizes).items()
        }

    def draw(self, sizes: Sizes, seed: int) -> dict[str, Array]:
        """Random inputs at these sizes, float32 or int64; equal seeds give equal inputs on every machine."""
        generator = np.random.default_rng(seed)
        return {name: self.inputs[name].draw(generator, shape) for name, shape in self.shapes(sizes).items()}

    def like(self, sample: Sequence[torch.Tensor], sizes: Sizes) -> dict[str, Array]:
        """Inputs at these sizes from a sample of other sizes, in the order of the inputs: cropped or repeated."""
        return {
            name: _fitted(tensor.numpy(), shape)
            for tensor, (name, shape) in zip(sample, self.shapes(sizes).items(), strict=True)
        }


def _fitted(array: Array, shape: tuple[int, ...]) -> Array:
    places = [np.arange(size) % available for available, size in zip(array.shape, shape, strict=True)]
    return np.asarray(array[np.ix_(*places)])


def gaussian(scale: float = 1.0) -> Draw:
    """Normal values with `scale` as standard deviation."""
    return lambda generator, shape: (scale * generator.standard_normal(shape)).astype(np.float32)
