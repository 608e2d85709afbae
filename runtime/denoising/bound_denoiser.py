"""The network with its inputs and outputs at fixed addresses where it computes."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import onnxruntime as ort

from ..errors import ArgumentError
from ..families.conditioning import BEHIND, Conditioning
from ..ort.memory import Buffer, View, bind_input, bind_output
from ..ort.session import Graph, Tensor, fit


class BoundNetwork:
    """Buffers for a call of so many rows, and the sessions' bindings to them.

    Nothing is copied by a run, and the addresses are the same in every one, which is what a CUDA graph needs. A graph
    of a fixed batch is run as often as it must, each time on rows of its own.

    Args:
        graph: of the network.
        latents: their shape, [rows, C, H, W].
        conditioning: the shape [rows, ...] of everything else that it is given.

    Attributes:
        memory: where the buffers are.
        key: all shapes; networks of the same key can stand in for each other.

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
        behind = others.pop(BEHIND, (self._rows, 0))[1]
        self._sample = buffer(inputs["sample"], (self._rows, latents[1] + behind, *latents[2:]))
        self._conditioning = {name: buffer(inputs[name], shape) for name, shape in others.items()}
        if behind:
            channels = np.zeros((self._padded_rows, behind, *latents[2:]), self._sample.dtype)
            self._conditioning[BEHIND] = Buffer(channels, self.memory)
        self._output = Buffer(np.zeros((self._padded_rows, *latents[1:]), output.dtype), self.memory)
        self._timestep_input = inputs["timestep"]
        self._timestep = Buffer(self.timesteps([0])[0], self.memory)
        starts = range(0, self._padded_rows, self._call_rows)
        self._calls = [(self._bind(start), graph.device.run_options(bound=True)) for start in starts]

    @property
    def sample(self) -> View:
        """What is fed, [rows, C, H, W]: latents, and the channels behind them."""
        return self._sample.rows(0, self._rows)

    @property
    def behind(self) -> dict[str, View]:
        """Those channels [rows, K, H, W], by their name; nothing where latents are all that is fed."""
        return {BEHIND: self._conditioning[BEHIND].rows(0, self._rows)} if BEHIND in self._conditioning else {}

    @property
    def timestep(self) -> View:
        """The timestep that is fed, in the graph's own shape."""
        return self._timestep.whole()

    @property
    def output(self) -> View:
        """What a run gives, [rows, C, H, W]."""
        return self._output.rows(0, self._rows)

    def timesteps(self, values: Sequence[float]) -> list[np.ndarray]:
        """Timesteps as the graph takes them."""
        return [fit(self._name, self._timestep_input, np.asarray(value), self._call_rows) for value in values]

    def condition(self, conditioning: Conditioning) -> None:
        """Write the conditioning."""
        for name, array in conditioning.items():
            self._conditioning[name].write(self._padded(array))

    def feed(self, sample: np.ndarray, timestep: float) -> None:
        """Write what the next run is fed: float [rows, C, H, W], and the timestep."""
        self._sample.write(self._padded(sample))
        self._timestep.write(self.timesteps([timestep])[0])

    def run(self) -> None:
        """Compute the output; on CUDA without waiting for it.

        Raises:
            ArgumentError: the graph cannot be run at this size.
        """
        for binding, options in self._calls:
            try:
                self._session.run_with_iobinding(binding, options)
            except Exception as error:  # ONNX Runtime raises its own classes and RuntimeError alike
                reason = str(error).splitlines()[0]
                shape = [self._call_rows, *self._sample.shape[1:]]
                raise ArgumentError(f"{self._name} cannot run with sample {shape}: {reason}") from None

    def wait(self) -> None:
        """Until what was launched is done."""
        for binding, _ in self._calls:
            binding.synchronize_outputs()

    def _bind(self, start: int) -> ort.IOBinding:
        binding = self._session.io_binding()
        bind_input(binding, "sample", self._sample.rows(start, self._call_rows))
        bind_input(binding, "timestep", self._timestep.whole())
        for name in self._conditioning.keys() - {BEHIND}:
            bind_input(binding, self._names[name], self._conditioning[name].rows(start, self._call_rows))
        bind_output(binding, self._output_name, self._output.rows(start, self._call_rows))
        return binding

    def _padded(self, array: np.ndarray) -> np.ndarray:
        """The last row repeated where a fixed batch wants more."""
        return array.take(range(self._padded_rows), axis=0, mode="clip")


def key_of(latents: Sequence[int], conditioning: Mapping[str, Sequence[int]]) -> Hashable:
    """What networks have in common that can stand in for each other."""
    return tuple(latents), frozenset((name, tuple(shape)) for name, shape in conditioning.items())
