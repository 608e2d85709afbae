"""What `triptych bench` finds out; `to_json` writes it as docs/bench-schema.md describes.

None is a figure that is not known. Seconds are wall time, bytes are bytes, MACs are multiply-accumulates.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class Machine:
    """`threads` are those of one ONNX Runtime session on the CPU; `gpus` name and driver version of each."""

    cpu: str
    cores: int | None
    usable_cores: int | None
    threads: int | None
    memory_bytes: int
    system: str
    gpus: list[str]


@dataclass(frozen=True)
class Subject:
    """The package; what its manifest does not say is None. `fingerprint` changes with any file."""

    name: str
    family: str
    precision: str | None
    dialect: str | None
    source: dict[str, Any] | None
    fingerprint: str | None


@dataclass(frozen=True)
class Conditions:
    """What was asked for. Height and width in pixels; `memory` is the policy of the whole picture."""

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
    """The most that a chain of products of `size` x `size` matrices reached through the same provider."""

    size: int
    dtype: str
    flops_per_second: float


@dataclass(frozen=True)
class ComponentFigures:
    """One component at one set of input shapes, in a session of its own.

    Attributes:
        shapes: of every input.
        dtype: of the first output.
        load_seconds: to create the session, its files in the page cache.
        first_seconds: of the first call.
        calls: warm ones.
        median_seconds: of the warm calls.
        p90_seconds: 90th percentile of the warm calls.
        macs: a call; None if the package does not say, or says it for another size.
        flops_per_second: 2 MACs / median_seconds.
        share_of_matrix_product: flops_per_second over that of `MatrixProduct`.
        bytes: of the component's files.
        resident_bytes: that loading and calling it added to the process.
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
    """Everything in the loop that is not the network, in the whole picture."""

    network_calls: int
    seconds_per_step: float
    share_of_network_call: float


@dataclass(frozen=True)
class PictureFigures:
    """One whole picture, after a short one to warm up.

    Attributes:
        load_seconds: to open the package and create all sessions.
        seconds: of the picture.
        seconds_by_component: `Output.timings`; total includes what none of them is.
        peak_bytes: the most that was resident while loading, warming up and making it; None where it is not told.
        weights_bytes: files of the components in use.
        peak_to_weights: their ratio.
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
    picture: PictureFigures

    def to_json(self) -> str:
        """As docs/bench-schema.md describes."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"
