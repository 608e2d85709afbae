"""Parts that the stages share: settings, results that are written as they come, sessions with bound buffers."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.library import ort

GUIDED = 2
"""Rows of the U-Net's batch for one image: with the prompt and with the negative prompt."""

PROMPT = "a red fox"

_STARTED = time.monotonic()


@dataclass(frozen=True)
class Settings:
    """The environment variables of run.sh, and what follows from them.

    `out` gets figures and logs, `work` holds checkpoint and packages; `size` is "full" or "small", `model` "sd15" or
    "sdxl". A stage starts nothing new that it does not expect to finish within `stage_seconds`.
    """

    out: Path
    work: Path
    device: str
    size: str
    model: str
    stage_seconds: float

    @property
    def on_cuda(self) -> bool:
        """Whether the device is a GPU of NVIDIA; else it is the CPU, which tries the kit."""
        return self.device.startswith("cuda")

    @property
    def full(self) -> bool:
        """Whether the model has the published size."""
        return self.size == "full"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint with random weights."""
        return self.work / "checkpoint"

    @property
    def side(self) -> int:
        """Height and width of an image in pixels."""
        return {"sd15": 512, "sdxl": 1024}[self.model] if self.full else 128

    @property
    def steps(self) -> tuple[int, int]:
        """Denoising steps of an image, both of which are measured."""
        return (50, 30) if self.full else (3, 2)

    @property
    def batches(self) -> tuple[int, ...]:
        """Numbers of images that are made at once."""
        return (1, 4, 8) if self.full else (1, 2)

    @property
    def provider_options(self) -> dict[str, str]:
        """Provider options that every stage starts from; strict mode accumulates SkipLayerNormalization in float32."""
        return {"enable_skip_layer_norm_strict_mode": "1"} if self.on_cuda else {}

    def package(self, name: str, images: int = 1) -> Path:
        """The package of that name whose U-Net takes so many images with guidance at once."""
        return self.work / (name if images == 1 else f"{name}-{images}")


def settings() -> Settings:
    """Read the environment variables that run.sh sets.

    Raises:
        KeyError: one of them is not set.
    """
    given = os.environ
    return Settings(
        out=Path(given["OUT"]),
        work=Path(given["WORK"]),
        device=given["DEVICE"],
        size=given["SIZE"],
        model=given["MODEL"],
        stage_seconds=float(given.get("STAGE_SECONDS", "460")),
    )


def seconds_left() -> float:
    """Seconds left of the stage, counted from the start of its process."""
    return settings().stage_seconds - (time.monotonic() - _STARTED)


@dataclass
class Results:
    """A JSON file in `out` that is rewritten with each figure, so that a stage that is cut short leaves its part."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, key: str, value: Any) -> None:
        """Add a figure, print it, and write all of them."""
        self.figures[key] = value
        print(f"{key}: {json.dumps(value)}", flush=True)
        out = settings().out
        partial = out / f".{self.name}.json"
        partial.write_text(json.dumps(self.figures, indent=2) + "\n")
        partial.replace(out / f"{self.name}.json")

    def attempt(self, key: str, measure: Callable[..., Any], *arguments: Any) -> Any:
        """Call `measure` and add its result; if it fails, add the error and return None."""
        try:
            value = measure(*arguments)
        except Exception as error:  # a figure that is missing must not cost the others
            self.add(key, {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"})
            return None
        self.add(key, value)
        return value

    def finish(self) -> None:
        """End the stage: with status 1 if a figure is missing."""
        missing = [key for key, value in self.figures.items() if isinstance(value, dict) and "error" in value]
        if missing:
            raise SystemExit(f"{self.name} has no figures for {', '.join(missing)}")


def say(line: str) -> None:
    """Print a line and flush it."""
    print(line, flush=True)


def read(name: str) -> dict[str, Any]:
    """Figures of another stage; {} if it has not run."""
    path = settings().out / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def best_options() -> dict[str, str]:
    """Provider options that the stage `options` found fastest, without the CUDA graph, which the runtime enables."""
    found = read("options").get("best", {}).get("options", settings().provider_options)
    return {key: value for key, value in found.items() if key != "enable_cuda_graph"}


def best_package() -> Path:
    """The package for one image that the stage `options` found fastest; on the CPU the portable one."""
    here = settings()
    return here.package(read("options").get("best", {}).get("package", "cuda") if here.on_cuda else "portable")


def open_session(
    graph: Path, options: Mapping[str, str] | None = None, device: str | None = None, profile: str | None = None
) -> ort.InferenceSession:
    """A session of a graph with provider options, on the device of the settings or another one.

    On the CPU a graph of the cuda operator set is expanded first. `profile` is the prefix of a file for a profile.
    """
    device = settings().device if device is None else device
    session_options = ort.SessionOptions()
    session_options.log_severity_level = 3
    if profile is not None:
        session_options.enable_profiling, session_options.profile_file_prefix = True, profile
    if device == "cpu":
        from triptych.export.verification.expansion import open_on_cpu  # slow to import: with PyTorch and all of export

        return open_on_cpu(graph, session_options)
    providers = list(open_device(device, provider_options=options).providers)
    session = ort.InferenceSession(str(graph), session_options, providers=providers)
    if session.get_providers()[0] != providers[0][0]:
        raise RuntimeError(f"the session runs on {session.get_providers()}")
    return session


def random_inputs(session: ort.InferenceSession, seed: int = 0) -> dict[str, np.ndarray]:
    """Plausible inputs of the graph's fixed shapes; an open axis gets its size for one image."""
    generator, side = np.random.default_rng(seed), settings().side
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
        place = ("cuda", 0) if settings().on_cuda else ("cpu", 0)
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
    """The worst signal-to-noise ratio of the outputs against a reference, in dB; -999 if a value is not finite."""
    worst = 999.0
    for name, array in reference.items():
        signal, error = array.astype(np.float64), outputs[name].astype(np.float64) - array.astype(np.float64)
        if not np.isfinite(error).all():
            return -999.0
        worst = min(worst, 10 * math.log10(float(np.mean(signal**2)) / max(float(np.mean(error**2)), 1e-300)))
    return worst


def used_bytes() -> int | None:
    """Memory in use on the GPU, of all processes; None on the CPU."""
    if not settings().on_cuda:
        return None
    import torch

    free, total = torch.cuda.mem_get_info()
    return total - free
