"""Parts that all stages share: settings, time, and results that are written as they come."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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

    def package(self, name: str, images: int = 1) -> Path:
        """The package of that name whose U-Net takes this many images with guidance at once."""
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

    def attempt(self, key: str, measure: Callable[..., Any], *arguments: Any, expected: float = 0.0) -> Any:
        """Call `measure` and add its result; if it fails, add the error and return None.

        It is skipped where the stage has less than the `expected` seconds left.
        """
        if seconds_left() < expected:
            self.add(key, {"skipped": f"{seconds_left():.0f} s were left, it takes about {expected:.0f}"})
            return None
        try:
            value = measure(*arguments)
        except Exception as error:  # a figure that is missing must not cost the others
            self.add(key, {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"})
            return None
        self.add(key, value)
        return value

    def finish(self) -> None:
        """End the stage: with status 1 if a figure is missing or wrong."""
        missing = [key for key, value in self.figures.items() if isinstance(value, dict) and "error" in value]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise SystemExit(f"{self.name} has failed figures: {'; '.join(missing[:3])}{more}")


def say(line: str) -> None:
    """Print a line and flush it."""
    print(line, flush=True)


def read(name: str) -> dict[str, Any]:
    """Figures of another stage; {} if it has not run."""
    path = settings().out / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def best_options() -> dict[str, str]:
    """Provider options that the stage `options` found fastest, without the CUDA graph, which the runtime enables."""
    found = read("options").get("best", {}).get("options", {})
    return {key: value for key, value in found.items() if key != "enable_cuda_graph"}


def best_package() -> Path:
    """The package for one image that the stage `options` found fastest; on the CPU the portable one."""
    here = settings()
    return here.package(read("options").get("best", {}).get("package", "cuda") if here.on_cuda else "portable")
