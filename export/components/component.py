"""One graph to be: a module with named inputs and outputs, and what it must equal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

Shape = tuple[int | str, ...]
"""Sizes, and names of axes that may vary. An output's axis may be a name with `* 8` or `// 8` after it."""

Sizes = Mapping[str, int]
"""Name of an axis -> its size."""

Array = np.ndarray
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True)
class Input:
    """`dtype` is "float" (the graph's precision) or "int64"; `draw` makes values of the kind that it gets in use."""

    shape: Shape
    draw: Draw
    dtype: str = "float"


@dataclass(frozen=True)
class Component:
    """One graph to be.

    `module` takes the inputs by name and returns the outputs in their order. `reference` is what it must equal: the
    checkpoint's own module, called the way diffusers calls it. `default` gives the size of every axis for one picture
    of the checkpoint's own size; `cases` are the sizes to verify at. `keeps_fp32` says why it is in float32 even in
    packages of float16, if it is.
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

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """The shape of every input when the axes have these sizes."""
        return {
            name: tuple(sizes[axis] if isinstance(axis, str) else axis for axis in given.shape)
            for name, given in self.inputs.items()
        }

    def zeros(self, sizes: Sizes, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Inputs of the right shapes and types without values, for tracing and counting; `dtype` of the float ones."""
        return {
            name: torch.zeros(shape, dtype=dtype if self.inputs[name].dtype == "float" else torch.int64)
            for name, shape in self.shapes(sizes).items()
        }

    def draw(self, sizes: Sizes, seed: int) -> dict[str, Array]:
        """Random inputs at these sizes, float32 or int64; the same for the same seed on every machine."""
        generator = np.random.default_rng(seed)
        return {name: self.inputs[name].draw(generator, shape) for name, shape in self.shapes(sizes).items()}

    def like(self, sample: Sequence[torch.Tensor], sizes: Sizes) -> dict[str, Array]:
        """Inputs at these sizes out of a sample of other sizes, in the order of the inputs: cut, or repeated."""
        return {
            name: _fitted(given.numpy(), shape)
            for given, (name, shape) in zip(sample, self.shapes(sizes).items(), strict=True)
        }


def _fitted(array: Array, shape: tuple[int, ...]) -> Array:
    places = [np.arange(size) % own for own, size in zip(array.shape, shape, strict=True)]
    return np.asarray(array[np.ix_(*places)])


def gaussian(scale: float = 1.0) -> Draw:
    """Normal values of that standard deviation."""
    return lambda generator, shape: (scale * generator.standard_normal(shape)).astype(np.float32)
