"""Inputs of a denoiser other than the sample, at fixed addresses on its device: written, or computed there by parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ..families.conditioning import TEXT, TIMESTEP, Conditioning
from ..families.parts import KEY, SHIFTS, VALUE, DividedGraph, fixed_rows, shift_shapes
from ..ort.failures import run_error
from ..ort.library import ort
from ..ort.memory import Buffer, View, bind_input, bind_output, to_host
from ..ort.session import Graph, Tensor, fit


class DenoiserInputs(Protocol):
    """Inputs for `rows` rows, of which a call of the graph takes some, from `start` on."""

    @property
    def time(self) -> View:
        """Input of a run that depends on its timestep; all calls share it."""
        ...

    def bind(self, binding: ort.IOBinding, start: int) -> None:
        """Let a call read its rows."""
        ...

    def condition(self, conditioning: Conditioning) -> None:
        """Write the conditioning, or what follows from it."""
        ...

    def feed(self, timestep: float) -> None:
        """Write the next run's timestep, or what follows from it."""
        ...

    def times(self, timesteps: Sequence[float]) -> Buffer:
        """A table of `time`, a row for each timestep, for the conditioning that was written last."""
        ...


class WrittenInputs:
    """Inputs of a denoiser that is one graph: timestep and conditioning as they are.

    Args:
        graph: of the denoiser.
        rows: of a call.
        padded_rows: of all calls.
        conditioning: shape [rows, ...] of each input.
    """

    def __init__(self, graph: Graph, rows: int, padded_rows: int, conditioning: Mapping[str, Sequence[int]]) -> None:
        self._name, self._tensors = graph.name, graph.inputs
        self._rows, self._padded_rows, self._memory = rows, padded_rows, graph.device.memory
        self._buffers = {
            name: buffer_for(graph, graph.inputs[name], (rows, *shape[1:]), padded_rows)
            for name, shape in conditioning.items()
        }
        self._timestep = Buffer(self._timesteps([0])[0], self._memory)

    @property
    def time(self) -> View:
        """The timestep in the graph's own shape."""
        return self._timestep.whole()

    def bind(self, binding: ort.IOBinding, start: int) -> None:
        """See `DenoiserInputs`."""
        bind_input(binding, self._tensors[TIMESTEP].name, self.time)
        for name, buffer in self._buffers.items():
            bind_input(binding, self._tensors[name].name, buffer.rows(start, self._rows))

    def condition(self, conditioning: Conditioning) -> None:
        """See `DenoiserInputs`."""
        for name, buffer in self._buffers.items():
            buffer.write(padded(conditioning[name], self._padded_rows))

    def feed(self, timestep: float) -> None:
        """See `DenoiserInputs`."""
        self._timestep.write(self._timesteps([timestep])[0])

    def times(self, timesteps: Sequence[float]) -> Buffer:
        """See `DenoiserInputs`."""
        return Buffer(np.stack(self._timesteps(timesteps)), self._memory, apart=True)

    def _timesteps(self, values: Sequence[float]) -> list[np.ndarray]:
        return [fit(self._name, self._tensors[TIMESTEP], np.asarray(value), self._rows) for value in values]


class ComputedInputs:
    """Inputs of a denoiser in parts: keys and values of the text, and the shifts of each timestep.

    Nothing of them leaves the device, unless there are more rows than one call takes.

    Args:
        graph: of the denoiser.
        padded_rows: of all calls.
        conditioning: shape [rows, ...] of each input of the parts.
    """

    def __init__(self, graph: DividedGraph, padded_rows: int, conditioning: Mapping[str, Sequence[int]]) -> None:
        self._name, self._rows, self._padded_rows = graph.name, fixed_rows(graph.body), padded_rows
        self._memory, self._options = graph.device.memory, graph.device.run_options(bound=True)
        # Of the graphs only the sessions are kept: a graph's loop, with its buffers, goes with the graph
        self._text_session, self._time_session, self._times = graph.text.session, graph.time.session, graph.time.inputs
        self._text = buffer_for(graph.text, graph.text.inputs[TEXT], (self._rows, *conditioning[TEXT][1:]), padded_rows)
        tensors = [tensor for name, tensor in graph.body.inputs.items() if name.startswith((KEY, VALUE))]
        self._pairs = {
            tensor.name: buffer_for(graph.body, tensor, (self._rows, *map(int, tensor.shape[1:])), padded_rows)
            for tensor in tensors
        }
        self._shapes = shift_shapes({name: tensor.shape for name, tensor in graph.body.inputs.items()})
        self._micro: dict[str, np.ndarray] = {}
        self._calls = padded_rows // self._rows
        width = int(graph.time.outputs[SHIFTS].shape[1])
        self._dtype = graph.time.outputs[SHIFTS].dtype
        self._shifts = Buffer(np.zeros((self._calls, width), self._dtype), self._memory)

    @property
    def time(self) -> View:
        """The shifts of all calls, one after another: [width]."""
        return self._shifts.parts([(math.prod(self._shifts.shape),)])[0]

    def bind(self, binding: ort.IOBinding, start: int) -> None:
        """See `DenoiserInputs`."""
        for name, buffer in self._pairs.items():
            bind_input(binding, name, buffer.rows(start, self._rows))
        every = list(self._shapes.values()) * self._calls
        count, first = len(self._shapes), start // self._rows * len(self._shapes)
        for name, view in zip(self._shapes, self._shifts.parts(every)[first : first + count], strict=True):
            bind_input(binding, name, view)

    def condition(self, conditioning: Conditioning) -> None:
        """See `DenoiserInputs`."""
        micro = self._times.keys() - {TIMESTEP}
        self._micro = {name: padded(conditioning[name], self._padded_rows) for name in micro}
        self._text.write(padded(conditioning[TEXT], self._padded_rows))
        for start in range(0, self._padded_rows, self._rows):
            binding = self._text_session.io_binding()
            bind_input(binding, TEXT, self._text.rows(start, self._rows))
            for name, buffer in self._pairs.items():
                bind_output(binding, name, buffer.rows(start, self._rows))
            self._run(self._text_session, binding)

    def feed(self, timestep: float) -> None:
        """See `DenoiserInputs`."""
        for call in range(self._calls):
            self._compute([timestep], call, self._shifts.rows(call, 1))

    def times(self, timesteps: Sequence[float]) -> Buffer:
        """See `DenoiserInputs`."""
        tables = [self._compute(timesteps, call) for call in range(self._calls)]
        if len(tables) == 1:
            return Buffer.of(tables[0], self._memory, self._dtype)
        return Buffer(np.concatenate([to_host(table) for table in tables], axis=1), self._memory)

    def _compute(self, timesteps: Sequence[float], call: int, place: View | None = None) -> ort.OrtValue:
        """The shifts of one call of the graph, [timesteps, width]; `place` is to hold them."""
        rows = slice(call * self._rows, (call + 1) * self._rows)
        values = {TIMESTEP: np.asarray(timesteps), **{name: array[rows] for name, array in self._micro.items()}}
        inputs = {
            name: Buffer(np.asarray(values[name], tensor.dtype), self._memory) for name, tensor in self._times.items()
        }
        binding = self._time_session.io_binding()
        for name, buffer in inputs.items():
            bind_input(binding, name, buffer.whole())
        bind_output(binding, SHIFTS, self._memory if place is None else place)
        self._run(self._time_session, binding)
        (table,) = binding.get_outputs()
        return table

    def _run(self, session: ort.InferenceSession, binding: ort.IOBinding) -> None:
        try:
            session.run_with_iobinding(binding, self._options)
        except Exception as error:  # ONNX Runtime raises its own classes and RuntimeError alike
            raise run_error(error, self._name, {"rows": (self._rows,)}) from None


def buffer_for(graph: Graph, tensor: Tensor, shape: Sequence[int], rows: int) -> Buffer:
    """Zeros for this many rows of an input or output.

    Args:
        graph: whose input it is, for errors.
        tensor: the input.
        shape: of one call.
        rows: of all calls.

    Raises:
        ArgumentError: the graph takes another shape.
    """
    fit(graph.name, tensor, np.zeros(shape), shape[0])
    return Buffer(np.zeros((rows, *shape[1:]), tensor.dtype), graph.device.memory)


def padded(array: np.ndarray, rows: int) -> np.ndarray:
    """The array with its last row repeated up to this many rows."""
    return array.take(range(rows), axis=0, mode="clip")
