"""Denoiser with inputs and outputs bound to fixed addresses on its device."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from ..errors import TriptychError
from ..families.conditioning import EXTRA_CHANNELS, Conditioning
from ..ort.failures import run_error
from ..ort.library import ort
from ..ort.memory import Buffer, View, bind_input, bind_output, synchronize
from ..ort.session import Graph, Tensor, fit


class BoundDenoiser:
    """Buffers of the denoiser for a fixed number of rows, and the session's bindings to them.

    A run copies nothing, and its addresses are the same every time, as a CUDA graph needs. A graph of a fixed batch is
    run several times, each time on other rows.

    Args:
        graph: graph of the denoiser.
        latents: their shape, [rows, C, H, W].
        conditioning: shape [rows, ...] of each other input.

    Attributes:
        memory: where the buffers are.
        key: all shapes; denoisers of equal keys are interchangeable.

    Raises:
        ArgumentError: the graph takes other shapes.
    """

    def __init__(self, graph: Graph, latents: Sequence[int], conditioning: Mapping[str, Sequence[int]]) -> None:
        self._session, self._name, self._rows = graph.session, graph.name, latents[0]
        self.memory, self.key = graph.device.memory, key_of(latents, conditioning)
        inputs = graph.inputs
        self._names = {name: tensor.name for name, tensor in inputs.items()}
        fixed = inputs["sample"].shape[0]
        self._call_rows = fixed if isinstance(fixed, int) else self._rows
        self._padded_rows = -(-self._rows // self._call_rows) * self._call_rows

        def buffer(tensor: Tensor, shape: Sequence[int]) -> Buffer:
            fit(graph.name, tensor, np.zeros((self._call_rows, *shape[1:])), self._call_rows)
            return Buffer(np.zeros((self._padded_rows, *shape[1:]), tensor.dtype), self.memory)

        ((self._output_name, output),) = graph.outputs.items()
        others = dict(conditioning)
        extra = others.pop(EXTRA_CHANNELS, (self._rows, 0))[1]
        self._sample = buffer(inputs["sample"], (self._rows, latents[1] + extra, *latents[2:]))
        self._conditioning = {name: buffer(inputs[name], shape) for name, shape in others.items()}
        if extra:
            channels = np.zeros((self._padded_rows, extra, *latents[2:]), self._sample.dtype)
            self._conditioning[EXTRA_CHANNELS] = Buffer(channels, self.memory)
        self._output = Buffer(np.zeros((self._padded_rows, *latents[1:]), output.dtype), self.memory)
        self._timestep_input = inputs["timestep"]
        self._timestep = Buffer(self.timesteps([0])[0], self.memory)
        starts = range(0, self._padded_rows, self._call_rows)
        self._calls = [(self._bind(start), graph.device.run_options(bound=True)) for start in starts]

    @property
    def sample(self) -> View:
        """Input of a run, [rows, C, H, W]: latents and extra channels."""
        return self._sample.rows(0, self._rows)

    @property
    def extra_channels(self) -> dict[str, View]:
        """Extra channels [rows, K, H, W] by their name; {} without."""
        return (
            {EXTRA_CHANNELS: self._conditioning[EXTRA_CHANNELS].rows(0, self._rows)}
            if EXTRA_CHANNELS in self._conditioning
            else {}
        )

    @property
    def timestep(self) -> View:
        """Timestep of a run, in the graph's own shape."""
        return self._timestep.whole()

    @property
    def output(self) -> View:
        """Output of a run, [rows, C, H, W]."""
        return self._output.rows(0, self._rows)

    def timesteps(self, values: Sequence[float]) -> list[np.ndarray]:
        """Timesteps as the graph takes them."""
        return [fit(self._name, self._timestep_input, np.asarray(value), self._call_rows) for value in values]

    def condition(self, conditioning: Conditioning) -> None:
        """Write the conditioning."""
        for name, array in conditioning.items():
            self._conditioning[name].write(self._padded(array))

    def feed(self, sample: np.ndarray, timestep: float) -> None:
        """Write the next run's input, float [rows, C, H, W], and its timestep."""
        self._sample.write(self._padded(sample))
        self._timestep.write(self.timesteps([timestep])[0])

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
        bind_input(binding, "sample", self._sample.rows(start, self._call_rows))
        bind_input(binding, "timestep", self._timestep.whole())
        for name in self._conditioning.keys() - {EXTRA_CHANNELS}:
            bind_input(binding, self._names[name], self._conditioning[name].rows(start, self._call_rows))
        bind_output(binding, self._output_name, self._output.rows(start, self._call_rows))
        return binding

    def _padded(self, array: np.ndarray) -> np.ndarray:
        """The array with its last row repeated up to the fixed batch."""
        return array.take(range(self._padded_rows), axis=0, mode="clip")


def key_of(latents: Sequence[int], conditioning: Mapping[str, Sequence[int]]) -> Hashable:
    """Pool key: denoisers of equal keys are interchangeable."""
    return tuple(latents), frozenset((name, tuple(shape)) for name, shape in conditioning.items())
