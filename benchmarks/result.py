"""Figures of `triptych bench`; docs/bench-schema.md describes them as JSON.

None is an unknown figure. Seconds are wall time, bytes are bytes, MACs are multiply-accumulates.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class Machine:
    """A machine. `threads` are those of one ONNX Runtime session on the CPU; `gpus` are names with driver versions."""

    cpu: str
    cores: int | None
    usable_cores: int | None
    threads: int | None
    memory_bytes: int
    system: str
    gpus: list[str]


@dataclass(frozen=True)
class Subject:
    """The package; values that its manifest lacks are None. `fingerprint` changes with any file."""

    name: str
    family: str
    precision: str | None
    dialect: str | None
    source: dict[str, Any] | None
    fingerprint: str | None


@dataclass(frozen=True)
class Conditions:
    """Conditions of the measurement. Height and width are in pixels; `memory` is the policy for the whole image."""

    device: str
    provider: str
    session_options: dict[str, Any]
    provider_options: dict[str, Any]
    height: int
    width: int
    steps: int
    guidance_scale: float
    scheduler: str
    memory: str


@dataclass(frozen=True)
class MatrixProduct:
    """Best rate of a chain of products of `size` x `size` matrices through the same provider."""

    size: int
    dtype: str
    flops_per_second: float


@dataclass(frozen=True)
class ComponentFigures:
    """One component at one set of input shapes, in a session of its own.

    Attributes:
        shapes: input name -> shape.
        dtype: type of the first output.
        load_seconds: time to create the session, with its files in the page cache.
        first_seconds: time of the first call.
        calls: number of warm calls.
        median_seconds: median of the warm calls.
        p90_seconds: 90th percentile of the warm calls.
        macs: multiply-accumulates of a call; None if the package does not have them for this size.
        flops_per_second: 2 MACs / median_seconds.
        share_of_matrix_product: flops_per_second over that of `MatrixProduct`.
        bytes: size of the component's files.
        resident_bytes: memory that loading and calling it added to the process.
    """

    shapes: dict[str, list[int]]
    dtype: str
    load_seconds: float
    first_seconds: float
    calls: int
    median_seconds: float
    p90_seconds: float
    macs: int | None
    flops_per_second: float | None
    share_of_matrix_product: float | None
    bytes: int
    resident_bytes: int


@dataclass(frozen=True)
class SamplerFigures:
    """Everything in the loop of the whole image except denoiser calls."""

    network_calls: int
    seconds_per_step: float
    share_of_network_call: float


@dataclass(frozen=True)
class ImageFigures:
    """One whole image, after a short one to warm up.

    Attributes:
        load_seconds: time to open the package and create all sessions.
        seconds: time of the image.
        seconds_by_component: `Output.timings` without the total.
        peak_bytes: peak of resident memory over loading, warm-up and the image; None where it is not known.
        weights_bytes: size of the files of the components in use.
        peak_to_weights: ratio of the two.
    """

    load_seconds: float
    seconds: float
    seconds_by_component: dict[str, float]
    peak_bytes: int | None
    weights_bytes: int
    peak_to_weights: float | None


@dataclass(frozen=True)
class Result:
    """One run of `triptych bench`. `date` is UTC, ISO 8601."""

    format: int
    date: str
    versions: dict[str, str]
    machine: Machine
    package: Subject
    conditions: Conditions
    matrix_product: MatrixProduct
    components: dict[str, ComponentFigures]
    sampler: SamplerFigures
    picture: ImageFigures

    def to_json(self) -> str:
        """The result as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"
