"""Arrays in the memory of a device: written from the host, bound to sessions, read back on request."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .failures import device_errors
from .library import ort

_ALIGNMENT = 256  # bytes, as CUDA's own allocations have it


@dataclass(frozen=True)
class Memory:
    """Memory of a device: its type and index, as `onnxruntime.OrtValue` has them."""

    kind: str
    index: int

    def put(self, array: np.ndarray) -> ort.OrtValue:
        """A copy of the array there.

        Raises:
            ProviderError: the device's memory is full, or the device failed.
        """
        with device_errors("copying to the device"):
            return ort.OrtValue.ortvalue_from_numpy(np.array(array, order="C"), self.kind, self.index)


@dataclass(frozen=True, eq=False, repr=False)
class View:
    """A tensor that is a part of another one, or all of it."""

    whole: ort.OrtValue
    memory: Memory
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int


class Buffer:
    """A tensor at a fixed address, of which the rows can be bound by themselves.

    Args:
        array: its first content; copied.
        memory: where it lives.
        apart: rows begin at aligned addresses, for when each is a tensor of its own.
    """

    def __init__(self, array: np.ndarray, memory: Memory, *, apart: bool = False) -> None:
        self.memory, self.dtype, self.shape = memory, array.dtype, array.shape
        self._row_bytes = math.prod(array.shape[1:]) * array.itemsize
        if apart:
            self._row_bytes = -(-self._row_bytes // _ALIGNMENT) * _ALIGNMENT
            padded = np.zeros((len(array), self._row_bytes // array.itemsize), array.dtype)
            padded[:, : math.prod(array.shape[1:])] = array.reshape(len(array), -1)
            array = padded
        self._value = memory.put(array)

    @classmethod
    def of(cls, value: ort.OrtValue, memory: Memory, dtype: np.dtype) -> Self:
        """A tensor that is there already, its rows next to each other."""
        buffer = cls.__new__(cls)
        buffer.memory, buffer.dtype, buffer.shape = memory, dtype, tuple(value.shape())
        buffer._row_bytes = math.prod(buffer.shape[1:]) * dtype.itemsize
        buffer._value = value
        return buffer

    def parts(self, shapes: Sequence[Sequence[int]]) -> list[View]:
        """Tensors that follow one another in it, of these shapes."""
        ends = itertools.accumulate((math.prod(shape) * self.dtype.itemsize for shape in shapes), initial=0)
        return [
            View(self._value, self.memory, self.dtype, tuple(shape), offset)
            for shape, offset in zip(shapes, ends, strict=False)
        ]

    def write(self, array: np.ndarray) -> None:
        """Other content of the same shape.

        Raises:
            ProviderError: the device failed.
        """
        with device_errors("copying to the device"):
            self._value.update_inplace(np.ascontiguousarray(array, self.dtype))

    def whole(self) -> View:
        """All of it."""
        return self._view(self.shape, 0)

    def rows(self, start: int, count: int) -> View:
        """Rows start..start+count."""
        return self._view((count, *self.shape[1:]), start)

    def row(self, i: int) -> View:
        """Row i by itself, without its axis."""
        return self._view(self.shape[1:], i)

    def _view(self, shape: tuple[int, ...], start: int) -> View:
        return View(self._value, self.memory, self.dtype, shape, start * self._row_bytes)


def bind_input(binding: ort.IOBinding, name: str, value: ort.OrtValue | View) -> None:
    """Let the session read its input there."""
    if isinstance(value, View):
        binding.bind_input(name, *_place(value))
    else:
        binding.bind_ortvalue_input(name, value)


def bind_output(binding: ort.IOBinding, name: str, place: View | Memory) -> None:
    """Let the session write its output there, into a new tensor where `place` is a memory."""
    if isinstance(place, View):
        binding.bind_output(name, *_place(place))
    else:
        binding.bind_output(name, place.kind, place.index)


def outputs_by_name(binding: ort.IOBinding, names: Sequence[str]) -> dict[str, ort.OrtValue]:
    """The outputs of a run, by the names in the order in which they were bound."""
    return dict(zip(names, binding.get_outputs(), strict=True))


def synchronize(binding: ort.IOBinding) -> None:
    """Wait for the runs that were launched with these outputs.

    Raises:
        ProviderError: the device failed in one of them.
    """
    with device_errors("a run on the device"):
        binding.synchronize_outputs()


def to_host(value: ort.OrtValue) -> np.ndarray:
    """A copy of a tensor on the device, whose runs have ended.

    Raises:
        ProviderError: the device failed.
    """
    with device_errors("copying from the device"):
        array: np.ndarray = value.numpy()
    return array


def _place(view: View) -> tuple[Any, ...]:
    address = view.whole.data_ptr() + view.offset
    return view.memory.kind, view.memory.index, view.dtype, view.shape, address
