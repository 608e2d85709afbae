"""Denoiser with inputs and outputs bound to fixed addresses on its device."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from ..errors import TriptychError
from ..families.conditioning import EXTRA_CHANNELS, SAMPLE, Conditioning
from ..families.parts import AnyGraph, DividedGraph, body_of
from ..ort.failures import run_error
from ..ort.library import ort
from ..ort.memory import Buffer, View, bind_input, bind_output, synchronize
from .denoiser_inputs import ComputedInputs, DenoiserInputs, WrittenInputs, buffer_for, padded


class BoundDenoiser:
    """Buffers of the denoiser for a fixed number of rows, and the session's bindings to them.

    A run copies nothing, and its addresses are the same every time, as a CUDA graph needs. A graph of a fixed batch is
    run several times, each time on other rows.

    Args:
        graph: of the denoiser.
        latents: their shape, [rows, C, H, W].
        conditioning: shape [rows, ...] of each other input.

    Attributes:
        inputs: all but the sample.
        memory: where the buffers are.
        key: all shapes; denoisers of equal keys are interchangeable.

    Raises:
        ArgumentError: the graph takes other shapes.
    """

    def __init__(self, graph: AnyGraph, latents: Sequence[int], conditioning: Mapping[str, Sequence[int]]) -> None:
        body = body_of(graph)
        self._session, self._name, self._rows = body.session, graph.name, latents[0]
        self.memory, self.key = graph.device.memory, key_of(latents, conditioning)
        sample = body.inputs[SAMPLE]
        self._sample_name, fixed = sample.name, sample.shape[0]
        self._call_rows = fixed if isinstance(fixed, int) else self._rows
        self._padded_rows = -(-self._rows // self._call_rows) * self._call_rows

        ((self._output_name, output),) = body.outputs.items()
        others = dict(conditioning)
        extra = others.pop(EXTRA_CHANNELS, (self._rows, 0))[1]
        self._sample = buffer_for(body, sample, (self._call_rows, latents[1] + extra, *latents[2:]), self._padded_rows)
        channels = np.zeros((self._padded_rows, extra, *latents[2:]), self._sample.dtype)
        self._extra = Buffer(channels, self.memory) if extra else None
        self.inputs: DenoiserInputs = (
            ComputedInputs(graph, self._padded_rows, others)
            if isinstance(graph, DividedGraph)
            else WrittenInputs(graph, self._call_rows, self._padded_rows, others)
        )
        self._output = Buffer(np.zeros((self._padded_rows, *latents[1:]), output.dtype), self.memory)
        starts = range(0, self._padded_rows, self._call_rows)
        self._calls = [(self._bind(start), graph.device.run_options(bound=True)) for start in starts]

    @property
    def sample(self) -> View:
        """Input of a run, [rows, C, H, W]: latents and extra channels."""
        return self._sample.rows(0, self._rows)

    @property
    def extra_channels(self) -> dict[str, View]:
        """Extra channels [rows, K, H, W] by their name; {} without."""
        return {} if self._extra is None else {EXTRA_CHANNELS: self._extra.rows(0, self._rows)}

    @property
    def output(self) -> View:
        """Output of a run, [rows, C, H, W]."""
        return self._output.rows(0, self._rows)

    def condition(self, conditioning: Conditioning) -> None:
        """Write the conditioning."""
        if self._extra is not None:
            self._extra.write(padded(conditioning[EXTRA_CHANNELS], self._padded_rows))
        self.inputs.condition(conditioning)

    def feed(self, sample: np.ndarray, timestep: float) -> None:
        """Write the next run's input, float [rows, C, H, W], and its timestep."""
        self._sample.write(padded(sample, self._padded_rows))
        self.inputs.feed(timestep)

    def run(self) -> None:
        """Compute the output; on CUDA without waiting for it.

        Raises:
            ProviderError: the device failed.
            ArgumentError: the graph cannot be run at this size.
        """
        try:
            self.launch()
        except Exception as error:  # ONNX Runtime raises its own classes and RuntimeError alike
            raise self.error(error) from None

    def launch(self) -> None:
        """Compute the output as `run` does, with ONNX Runtime's own exceptions."""
        for binding, options in self._calls:
            self._session.run_with_iobinding(binding, options)

    def error(self, error: Exception) -> TriptychError:
        """Error of a run, to be raised in place of ONNX Runtime's."""
        return run_error(error, self._name, {"sample": (self._call_rows, *self._sample.shape[1:])})

    def wait(self) -> None:
        """Wait for the runs that were launched."""
        for binding, _ in self._calls:
            synchronize(binding)

    def _bind(self, start: int) -> ort.IOBinding:
        binding = self._session.io_binding()
        bind_input(binding, self._sample_name, self._sample.rows(start, self._call_rows))
        self.inputs.bind(binding, start)
        bind_output(binding, self._output_name, self._output.rows(start, self._call_rows))
        return binding


def key_of(latents: Sequence[int], conditioning: Mapping[str, Sequence[int]]) -> Hashable:
    """Pool key: denoisers of equal keys are interchangeable."""
    return tuple(latents), frozenset((name, tuple(shape)) for name, shape in conditioning.items())
