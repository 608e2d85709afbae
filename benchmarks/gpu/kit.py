"""What the stages share: where things lie, results that are written as they come, sessions that are bound."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from triptych.runtime.ort.device import open_device

OUT, WORK = Path(os.environ["OUT"]), Path(os.environ["WORK"])
DEVICE, SIZE, MODEL = os.environ["DEVICE"], os.environ["SIZE"], os.environ["MODEL"]
ON_CUDA = DEVICE.startswith("cuda")
STAGE_SECONDS = float(os.environ.get("STAGE_SECONDS", "460"))
"""A stage starts nothing new that it does not expect to finish within this time."""

CHECKPOINT = WORK / "checkpoint"
SIDE = {"sd15": 512, "sdxl": 1024}[MODEL] if SIZE == "full" else 128
STEPS = (50, 30) if SIZE == "full" else (3, 2)
PICTURES = (1, 4, 8) if SIZE == "full" else (1, 2)
GUIDED = 2  # rows of the U-Net for a picture
PROMPT = "a red fox"

PROVIDER_OPTIONS: dict[str, str] = {"enable_skip_layer_norm_strict_mode": "1"} if ON_CUDA else {}
"""What every stage starts from. Strict mode adds up in float32 in SkipLayerNormalization."""

_STARTED = time.monotonic()


def seconds_left() -> float:
    """Of the stage, counted from the start of its process."""
    return STAGE_SECONDS - (time.monotonic() - _STARTED)


def package(dialect: str, pictures: int = 1) -> Path:
    """The package of that dialect whose U-Net takes so many pictures with guidance at once."""
    return WORK / (dialect if pictures == 1 else f"{dialect}-{pictures}")


@dataclass
class Results:
    """A JSON file in OUT that is written anew with every figure, so that a stage that is cut short leaves its part."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, key: str, value: Any) -> None:
        """Add a figure, print it, and write all of them."""
        self.figures[key] = value
        print(f"{key}: {json.dumps(value)}", flush=True)
        partial = OUT / f".{self.name}.json"
        partial.write_text(json.dumps(self.figures, indent=2) + "\n")
        partial.replace(OUT / f"{self.name}.json")

    def attempt(self, key: str, measure: Callable[..., Any], *arguments: Any) -> Any:
        """Add what `measure` finds out when called with the arguments, or why it could not; None in that case."""
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
    """Print, at once."""
    print(line, flush=True)


def read(name: str) -> dict[str, Any]:
    """The figures of another stage; {} where it has not run."""
    path = OUT / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def best_options() -> dict[str, str]:
    """The provider options that the stage `options` found fastest, less the CUDA graph, which the runtime sees to."""
    found = read("options").get("best", {}).get("options", PROVIDER_OPTIONS)
    return {key: value for key, value in found.items() if key != "enable_cuda_graph"}


def best_package() -> Path:
    """The package for one picture that the stage `options` found fastest; on the CPU the one that runs there."""
    return package(read("options").get("best", {}).get("package", "cuda")) if ON_CUDA else package("portable")


def open_session(
    graph: Path, options: Mapping[str, str] | None = None, device: str = DEVICE, profile: str | None = None
) -> ort.InferenceSession:
    """A session of a graph with provider options; on the CPU a graph in the cuda dialect is expanded first."""
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    if profile is not None:
        settings.enable_profiling, settings.profile_file_prefix = True, profile
    if device == "cpu":
        from triptych.export.dialects.expansion import open_on_cpu  # slow to import: with PyTorch and all of export

        return open_on_cpu(graph, settings)
    providers = list(open_device(device, provider_options=options).providers)
    session = ort.InferenceSession(str(graph), settings, providers=providers)
    if session.get_providers()[0] != providers[0][0]:
        raise RuntimeError(f"the session runs on {session.get_providers()}")
    return session


def random_inputs(session: ort.InferenceSession, seed: int = 0) -> dict[str, np.ndarray]:
    """Plausible inputs of the graph's own fixed shapes; an open axis gets the size it has for one picture."""
    generator = np.random.default_rng(seed)
    sizes = {"batch_size": 1, "sequence_length": 77, "sample_height": SIDE, "sample_width": SIDE}
    inputs = {}
    for spec in session.get_inputs():
        shape = [axis if isinstance(axis, int) else sizes.get(axis, SIDE // 8) for axis in spec.shape]
        if "int" in spec.type:
            inputs[spec.name] = generator.integers(0, 600, shape, np.int64)
        elif spec.name == "timestep":
            inputs[spec.name] = np.full(shape, 500, numpy_type(spec))
        else:
            inputs[spec.name] = generator.standard_normal(shape).astype(numpy_type(spec))
    return inputs


def numpy_type(spec: ort.NodeArg) -> type[np.floating]:
    """Of a float input."""
    return np.float16 if spec.type == "tensor(float16)" else np.float32


@dataclass
class Bound:
    """A session with inputs and outputs at fixed places on the device, as CUDA graphs need them."""

    session: ort.InferenceSession
    inputs: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        place = ("cuda", 0) if ON_CUDA else ("cpu", 0)
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
        """Of the outputs."""
        return [spec.name for spec in self.session.get_outputs()]

    def launch(self) -> None:
        """Run once; on a device without waiting."""
        options = ort.RunOptions()
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self.session.run_with_iobinding(self._binding, options)

    def wait(self) -> None:
        """Until what was launched is done."""
        self._binding.synchronize_outputs()

    def outputs(self) -> dict[str, np.ndarray]:
        """Of the last run."""
        return dict(zip(self.names, self._binding.copy_outputs_to_cpu(), strict=True))

    def seconds(self, budget: float = 4.0) -> dict[str, float]:
        """Seconds of a call that is waited for (median), and of one of many in a row (mean), after three warm ones.

        `budget` seconds are spent on them, or a few calls.
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


def decibels(given: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> float:
    """The worst signal-to-noise ratio of `given` against `wanted`, in dB; -999 where something is not finite."""
    worst = 999.0
    for name, array in wanted.items():
        signal, error = array.astype(np.float64), given[name].astype(np.float64) - array.astype(np.float64)
        if not np.isfinite(error).all():
            return -999.0
        worst = min(worst, 10 * math.log10(float(np.mean(signal**2)) / max(float(np.mean(error**2)), 1e-300)))
    return worst


def used_bytes() -> int | None:
    """Memory in use on the device, by whichever process."""
    if not ON_CUDA:
        return None
    import torch

    free, total = torch.cuda.mem_get_info()
    return total - free
