"""One graph, one session: typed inputs and outputs, read from the session itself."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ..errors import (
    ArgumentError,
    NumericalError,
    PackageError,
    PerformanceWarning,
    ProviderError,
    TriptychError,
    first_line,
)
from .cuda import PLAIN, Traits, without_failure
from .device import Device
from .device_thread import Owned
from .failures import device_failure, run_error
from .library import ort

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph: a shape entry is a size, or the name of an axis that may vary."""

    name: str
    dtype: np.dtype
    shape: tuple[int | str, ...]


class Graph:
    """A graph loaded on a device.

    Calling it takes arrays by input name and returns the outputs by name. Arrays are cast to the graph's types, and a
    scalar gets the rank that the graph takes, so that one caller serves every operator set. A graph with a fixed batch
    runs as often as it must, its last call filled up with repeats; on the CPU every graph runs row by row, which is as
    fast, takes the memory of one row, and makes a row's result bit-identical alone and in a batch.

    Args:
        path: the graph's file.
        device: where it runs.
        name: of the component, for errors.
        keep_memory: hold on to working memory from call to call, which is faster; on the CPU only.
        optimised: the graph was optimised when it was exported and runs as it is: loading takes only the time
            to pack weights for matrix products.
        traits: facts about the graph that matter on CUDA.
        aliases: names of inputs in the file -> names used here.

    Attributes:
        inputs, outputs: name -> Tensor; the name is the one used here, whatever the graph's own is.
        providers: in use, the first one running the graph.
        load_seconds: the time that the session took to create.
    """

    def __init__(
        self,
        path: Path,
        device: Device,
        name: str,
        *,
        keep_memory: bool = True,
        optimised: bool = False,
        traits: Traits = PLAIN,
        aliases: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.device = device
        self._rows = 1 if device.on_cpu else None
        self._path, self._traits = path, traits
        self._options = device.options(self._traits, keep_memory=keep_memory, optimise=not optimised)
        self._keeps_memory = device.on_cpu and self._options.enable_cpu_mem_arena
        start = time.perf_counter()
        try:
            self._session = self._open()
        except ProviderError:
            raise
        except Exception as error:  # ONNX Runtime raises its own classes and RuntimeError alike
            if not self.works_around(error):
                raise self._open_error(error) from None
        self.load_seconds = time.perf_counter() - start
        self.providers: tuple[str, ...] = tuple(self.session.get_providers())
        if self.providers[0] != device.provider:
            raise ProviderError(
                f"{name} was to run on {device.provider} but ONNX Runtime gave it to {self.providers[0]}; "
                "run `triptych doctor` for the reason"
            )
        self.inputs = {aliases.get(spec.name, spec.name): _tensor(spec) for spec in self.session.get_inputs()}
        self.outputs = {spec.name: _tensor(spec) for spec in self.session.get_outputs()}

    @property
    def session(self) -> ort.InferenceSession:
        """The session of ONNX Runtime, for bound runs; to be called by `Device.call`, and kept nowhere else."""
        return self._session.value

    def __call__(self, arrays: Mapping[str, np.ndarray], *, release: bool = False) -> dict[str, np.ndarray]:
        """Run the graph.

        Args:
            arrays: one array for each input, by name; those with more than one axis have the batch first.
            release: give working memory that was kept back to the system afterwards.

        Raises:
            ArgumentError: an array does not fit the shape of its input, or the graph cannot be run at this size.
        """
        batch = max((array.shape[0] for array in arrays.values() if array.ndim > 1), default=1)
        fixed = next((t.shape[0] for t in self.inputs.values() if len(t.shape) > 1), None)
        rows = fixed if isinstance(fixed, int) else self._rows or batch
        starts = range(0, batch, rows)
        pieces = [
            self._run(take_rows(arrays, start, rows), rows, release=release and start == starts[-1]) for start in starts
        ]
        if len(pieces) == 1 and rows == batch:
            return pieces[0]
        return {name: np.concatenate([piece[name] for piece in pieces])[:batch] for name in self.outputs}

    def _run(self, arrays: Mapping[str, np.ndarray], batch: int, *, release: bool) -> dict[str, np.ndarray]:
        feeds = {tensor.name: fit(self.name, tensor, arrays[name], batch) for name, tensor in self.inputs.items()}
        options = self.device.run_options()
        if release and self._keeps_memory:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            results = self.device.call(self.session.run, None, feeds, options)
        except Exception as error:  # ONNX Runtime raises its own classes and RuntimeError alike
            if self.works_around(error):
                return self._run(arrays, batch, release=release)
            raise run_error(error, self.name, {name: feed.shape for name, feed in feeds.items()}) from None
        return dict(zip(self.outputs, results, strict=True))

    def works_around(self, error: Exception) -> bool:
        """Open the session again without what has failed on CUDA, with a warning; False where nothing is left to try.

        A capture that fails is left out, and cuDNN's attention is replaced by flash attention.
        """
        if not self.device.on_cuda:
            return False
        lesser = without_failure(self._traits, self.device.providers[0][1], str(error))
        if lesser is None:
            return False
        self._traits, how = lesser
        try:
            self._session = self._open()
        except Exception as following:  # the reason is more than what is left out
            return self.works_around(following)
        reason = device_failure(error) or first_line(error)
        warnings.warn(f"{self.name} runs {how}: {reason}", PerformanceWarning, stacklevel=2)
        return True

    def _open(self) -> Owned[ort.InferenceSession]:
        def create() -> Owned[ort.InferenceSession]:
            providers = self.device.session_providers(self._traits)
            # By default ONNX Runtime would continue on the CPU, and print that
            session = ort.InferenceSession(str(self._path), self._options, providers=providers, enable_fallback=0)
            return self.device.own(session)

        return self.device.call(create)

    def _open_error(self, error: Exception) -> TriptychError:
        if failure := device_failure(error):
            return ProviderError(f"{self.name} cannot be loaded: {failure}")
        if self._traits.whole and "fallback to CPU EP has been explicitly disabled" in str(error):
            return ProviderError(
                f"{self._path} has nodes that CUDA has no kernels for in ONNX Runtime {ort.__version__}; export the "
                "package again, or with --dialect portable"
            )
        return PackageError(f"{self._path} cannot be loaded by ONNX Runtime: {first_line(error)}")


def fit(name: str, tensor: Tensor, array: np.ndarray, batch: int) -> np.ndarray:
    """The array as an input of the graph called `name` takes it, in a call of `batch` rows.

    Raises:
        ArgumentError: its shape does not fit.
    """
    array = np.asarray(array, tensor.dtype)
    if array.ndim == 0 and len(tensor.shape) == 1:  # a timestep: [1] in some dialects, [batch] in others
        axis = tensor.shape[0]
        array = np.full(batch if axis == batch or "batch" in str(axis) else 1, array)
    fits = array.ndim == len(tensor.shape) and all(
        isinstance(size, str) or size == length for size, length in zip(tensor.shape, array.shape, strict=True)
    )
    if not fits:
        expected = ", ".join(str(axis) for axis in tensor.shape)
        raise ArgumentError(f"{name} takes {tensor.name} of shape [{expected}], not {list(array.shape)}")
    return array


def check_finite(array: np.ndarray, component: str, where: str = "") -> None:
    """Refuse an output of a component that is not finite.

    Raises:
        NumericalError: it holds NaN or infinity; names the component, and the place in `where`.
    """
    if not np.isfinite(array).all():
        raise NumericalError(
            f"{component} gave NaN or infinity{where}; export the checkpoint with --precision fp32 and try again"
        )


def take_rows(arrays: Mapping[str, np.ndarray], start: int, count: int) -> dict[str, np.ndarray]:
    """Rows start..start+count of every batched array, the last one repeated where there are no more."""
    return {
        name: array.take(range(start, start + count), axis=0, mode="clip") if array.ndim > 1 else array
        for name, array in arrays.items()
    }


def _tensor(spec: ort.NodeArg) -> Tensor:
    if spec.type not in _DTYPES:
        raise PackageError(f"the graph's {spec.name} has type {spec.type}; supported: {', '.join(_DTYPES)}")
    shape = tuple(axis if isinstance(axis, int) else str(axis) for axis in spec.shape)
    return Tensor(spec.name, np.dtype(_DTYPES[spec.type]), shape)
