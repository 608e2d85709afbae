"""Graphs to measure, sessions with bound buffers, and distances between their outputs."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from triptych.runtime.ort.cuda import Traits
from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.library import ort
from triptych.runtime.ort.weight_types import has_halves
from triptych.runtime.package.package import family_of, open_package

from . import kit

MOST_DB = 200.0
"""Signal-to-noise ratio of equal outputs, so that the figure stays a number."""


def denoiser(package: Path) -> Path:
    """The graph that the loop runs at each step: what "unet" means in every stage."""
    opened = open_package(package)
    return opened.graph(family_of(opened).denoiser)


def component(package: Path, name: str) -> Path:
    """The graph of a component, for the denoiser that of `denoiser`."""
    opened = open_package(package)
    return denoiser(package) if name == family_of(opened).denoiser else opened.graph(name)


def open_session(
    graph: Path, options: Mapping[str, str] | None = None, device: str | None = None, profile: str | None = None
) -> ort.InferenceSession:
    """A session of a graph on the device of the settings or another one, with the runtime's options and further ones.

    On the CPU a graph of the cuda operator set is expanded first. `profile` is the prefix of a file for a profile.
    """
    device = kit.settings().device if device is None else device
    session_options = ort.SessionOptions()
    session_options.log_severity_level = 3
    if profile is not None:
        session_options.enable_profiling, session_options.profile_file_prefix = True, profile
    if device == "cpu":
        from triptych.export.verification.expansion import open_on_cpu  # slow to import: with PyTorch and all of export

        return open_on_cpu(graph, session_options)
    capture = dict(options or {}).get("enable_cuda_graph") == "1"
    providers = open_device(device, provider_options=options).session_providers(traits(graph, capture=capture))
    session = ort.InferenceSession(str(graph), session_options, providers=providers, enable_fallback=0)
    if session.get_providers()[0] != providers[0][0]:
        raise RuntimeError(f"the session runs on {session.get_providers()}")
    return session


def traits(graph: Path, *, capture: bool) -> Traits:
    """What the runtime's options for a graph depend on, as it reads them from a package's manifest."""
    operators = {node.op_type for node in onnx.load(graph, load_external_data=False).graph.node}
    channels_last = "NhwcConv" in operators and "Conv" not in operators
    return Traits(capture=capture, exact=not has_halves(graph), channels_last=channels_last)


def random_inputs(session: ort.InferenceSession, seed: int = 0) -> dict[str, np.ndarray]:
    """Plausible inputs of the graph's fixed shapes; an open axis gets its size for one image."""
    generator, side = np.random.default_rng(seed), kit.settings().side
    sizes = {"batch_size": 1, "sequence_length": 77, "sample_height": side, "sample_width": side}
    inputs = {}
    for spec in session.get_inputs():
        shape = [axis if isinstance(axis, int) else sizes.get(axis, side // 8) for axis in spec.shape]
        if "int" in spec.type:
            inputs[spec.name] = generator.integers(0, 600, shape, np.int64)
        elif spec.name == "timestep":
            inputs[spec.name] = np.full(shape, 500, numpy_type(spec))
        else:
            inputs[spec.name] = generator.standard_normal(shape).astype(numpy_type(spec))
    return inputs


def numpy_type(spec: ort.NodeArg) -> type[np.floating]:
    """The type of a float input or output."""
    return np.float16 if spec.type == "tensor(float16)" else np.float32


@dataclass
class Bound:
    """A session with inputs and outputs at fixed places on the device, as CUDA graphs need them."""

    session: ort.InferenceSession
    inputs: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        place = ("cuda", 0) if kit.settings().on_cuda else ("cpu", 0)
        self._binding = self.session.io_binding()
        for name, array in self.inputs.items():
            self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, *place))
        for spec in self.session.get_outputs():
            if all(isinstance(axis, int) for axis in spec.shape):
                value = ort.OrtValue.ortvalue_from_numpy(np.zeros(spec.shape, numpy_type(spec)), *place)
                self._binding.bind_ortvalue_output(spec.name, value)
            else:
                self._binding.bind_output(spec.name, *place)

    @property
    def names(self) -> list[str]:
        """Names of the outputs."""
        return [spec.name for spec in self.session.get_outputs()]

    def launch(self) -> None:
        """Run once; on a GPU, do not wait for the end."""
        options = ort.RunOptions()
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self.session.run_with_iobinding(self._binding, options)

    def wait(self) -> None:
        """Wait until all launched runs are done."""
        self._binding.synchronize_outputs()

    def outputs(self) -> dict[str, np.ndarray]:
        """Outputs of the last run."""
        return dict(zip(self.names, self._binding.copy_outputs_to_cpu(), strict=True))

    def seconds(self, budget: float = 4.0) -> dict[str, float]:
        """Seconds of a call with a wait after it (median), and of calls in a row (mean), after 3 warm-up calls.

        They take `budget` seconds, or a few calls where those take longer.
        """
        for _ in range(3):
            self.launch()
        self.wait()
        alone: list[float] = []
        start = time.perf_counter()
        while len(alone) < 3 or (time.perf_counter() - start < budget / 2 and len(alone) < 100):
            before = time.perf_counter()
            self.launch()
            self.wait()
            alone.append(time.perf_counter() - before)
        median = float(np.median(alone))
        calls = max(2, min(100, int(budget / 2 / max(median, 1e-6))))
        start = time.perf_counter()
        for _ in range(calls):
            self.launch()
        self.wait()
        return {"alone": median, "in_a_row": (time.perf_counter() - start) / calls}


def decibels(outputs: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> float:
    """The worst `signal_to_noise` of the outputs against a reference, in dB."""
    return min(signal_to_noise(outputs[name], array) for name, array in reference.items())


def signal_to_noise(array: np.ndarray, reference: np.ndarray) -> float:
    """Signal-to-noise ratio against a reference, in dB: at most MOST_DB, and -MOST_DB if a value is not finite."""
    signal, error = reference.astype(np.float64), array.astype(np.float64) - reference.astype(np.float64)
    if not np.isfinite(error).all():
        return -MOST_DB
    power, noise = float(np.mean(signal**2)), float(np.mean(error**2))
    if noise == 0 or power == 0:
        return MOST_DB if noise == 0 else -MOST_DB
    return max(-MOST_DB, min(MOST_DB, 10 * math.log10(power / noise)))


def used_bytes() -> int | None:
    """Memory in use on the GPU, of all processes; None where PyTorch sees no GPU."""
    if not kit.settings().on_cuda:
        return None
    import torch  # slow to import

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return total - free
