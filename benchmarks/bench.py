"""Latency per component of a package: `triptych bench PACKAGE`.

The whole picture is measured first, so that its peak of memory is that of a process that has done nothing else; then
each component alone.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from triptych.runtime import TextToImage
from triptych.runtime.families.family import Family
from triptych.runtime.package.package import Package
from triptych.runtime.sampling import Sampler, Step

from .components import PROMPT, beginning_of, components_in_use, inputs_of, measure_component, with_share
from .files import check_writable, write_whole
from .machine import describe_machine, versions
from .matmul import measure_matrix_product
from .memory import peak_bytes, release, reset_peak
from .plot import check_format, draw
from .result import FORMAT, Conditions, PictureFigures, Result, SamplerFigures, Subject
from .table import show

GUIDANCE_SCALE = 7.5
WARM_UP_STEPS = 2


def bench(
    package: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    steps: int = 20,
    width: int | None = None,
    height: int | None = None,
    json_file: Path | None = None,
    plot: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Result:
    """Measure a package and print tables to stdout.

    Args:
        package: folder of ONNX graphs.
        options: of `TextToImage.load`: device, memory, session_options, provider_options.
        steps: of the whole picture.
        width: pixels; None is the package's own.
        height: pixels; None is the package's own.
        json_file: where to write the figures, see docs/bench-schema.md.
        plot: where to draw them, .png or .svg.
        report: called with a line of text as each measurement begins.

    Raises:
        ArgumentError: steps or a size that cannot be used, or a result that cannot be written; told before anything
            is measured.
        PackageError, ProviderError: see `TextToImage.load`.
    """
    if plot is not None:
        check_format(plot)
    for path in filter(None, (json_file, plot)):
        check_writable(path)
    result = measure(package, options or {}, steps=steps, width=width, height=height, report=report)
    if json_file is not None:
        write_whole(json_file, result.to_json().encode())
    if plot is not None:
        write_whole(plot, draw(result, plot.suffix))
    show(result, Console())
    return result


def measure(
    package: str | Path,
    options: Mapping[str, Any],
    *,
    steps: int,
    width: int | None,
    height: int | None,
    report: Callable[[str], None],
) -> Result:
    """What `bench` prints and writes; see there."""
    release()
    peak_is_ours = reset_peak()
    report(f"loading {package}")
    start = time.perf_counter()
    pipe = TextToImage.load(package, **options)
    load_seconds = time.perf_counter() - start
    asked = _conditions(pipe, steps, width, height)
    sampler, picture = _picture(pipe, asked, load_seconds, report)
    if not peak_is_ours:
        picture = replace(picture, peak_bytes=None, peak_to_weights=None)
    opened, device, family = pipe.package, pipe.device, pipe.family
    inputs = inputs_of(pipe, asked.height, asked.width)
    del pipe  # its memory is not to count in that of the components

    components = {}
    for name in components_in_use(family):
        report(f"calling {name}")
        components[name] = measure_component(opened, device, name, inputs[name])
    report("multiplying large matrices")
    product = measure_matrix_product(device, np.dtype(components[family.generator].dtype))
    return Result(
        format=FORMAT,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        machine=describe_machine(device),
        package=_subject(opened, family),
        conditions=asked,
        matrix_product=product,
        components={name: with_share(figures, product) for name, figures in components.items()},
        sampler=sampler,
        picture=picture,
    )


def _conditions(pipe: TextToImage, steps: int, width: int | None, height: int | None) -> Conditions:
    """What is measured, sizes that were left out being the package's own; refuses a number of steps that is none."""
    scheduler = pipe.package.scheduler_config()
    Sampler.from_config(scheduler, num_inference_steps=steps)
    own_height, own_width = (side * pipe.vae_scale_factor for side in pipe.latent_size)
    return Conditions(
        device=pipe.device.name,
        provider=pipe.device.provider,
        session_options=dict(pipe.device.session_options),
        provider_options=dict(pipe.device.providers[0][1]),
        height=own_height if height is None else height,
        width=own_width if width is None else width,
        steps=steps,
        guidance_scale=GUIDANCE_SCALE,
        scheduler=str(scheduler["_class_name"]),
        memory=pipe.memory,
    )


def _picture(
    pipe: TextToImage, asked: Conditions, load_seconds: float, report: Callable[[str], None]
) -> tuple[SamplerFigures, PictureFigures]:
    """Make a picture, after a short one to warm up."""
    beginning = beginning_of(pipe, asked.height, asked.width)

    def make(steps: int, count: Callable[[Step], None]) -> dict[str, float]:
        out = pipe(
            PROMPT,
            num_inference_steps=steps,
            guidance_scale=asked.guidance_scale,
            seed=0,
            height=asked.height,
            width=asked.width,
            callback=count,
            **beginning,
        )
        return out.timings

    report("warming up")
    make(min(WARM_UP_STEPS, asked.steps), lambda _: None)
    report("making a picture")
    calls: list[int] = []
    timings = make(asked.steps, lambda step: calls.append(step.index))
    network = timings[pipe.family.generator]
    weights = sum(pipe.package.bytes_of(name) for name in components_in_use(pipe.family))
    peak = peak_bytes()
    return (
        SamplerFigures(len(calls), timings["sampler"] / len(calls), timings["sampler"] / network),
        PictureFigures(
            load_seconds=load_seconds,
            seconds=timings["total"],
            seconds_by_component={name: value for name, value in timings.items() if name != "total"},
            peak_bytes=peak,
            weights_bytes=weights,
            peak_to_weights=None if peak is None else peak / weights,
        ),
    )


def _subject(package: Package, family: Family) -> Subject:
    manifest = package.manifest or {}
    return Subject(
        name=package.path.resolve().name,
        family=family.name,
        precision=manifest.get("precision"),
        dialect=manifest.get("dialect"),
        source=manifest.get("source"),
        fingerprint=package.fingerprint if manifest else None,
    )
