"""Latency per component of a package: `triptych bench PACKAGE`.

The whole image is measured first, so that its peak memory is that of a fresh process; then each component alone.
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
from triptych.runtime.footprint import give_back
from triptych.runtime.package.defaults import Defaults
from triptych.runtime.package.package import Package
from triptych.runtime.sampling import Sampler, Step

from .components import GUIDED, PROMPT, components_in_use, image_arguments, inputs_of, measure_component, with_share
from .files import check_writable, write_whole
from .machine import describe_machine, versions
from .matmul import measure_matrix_product
from .memory import peak_bytes, reset_peak
from .plot import check_format, draw
from .result import FORMAT, Conditions, ImageFigures, Result, SamplerFigures, Subject
from .table import show

STEPS, GUIDANCE_SCALE = 20, 7.5
"""Of packages that state no defaults."""
WARM_UP_STEPS = 2


def bench(
    package: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    steps: int | None = None,
    width: int | None = None,
    height: int | None = None,
    json_file: Path | None = None,
    plot: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Result:
    """Measure a package and print tables to stdout.

    Args:
        package: folder of ONNX graphs.
        options: arguments of `TextToImage.load`: device, memory, session_options, provider_options.
        steps: denoising steps of the whole image; None is the package's default, or 20 where it states none.
        width: of the image in pixels; None is the package's default.
        height: of the image in pixels; None is the package's default.
        json_file: file for the figures, see docs/bench-schema.md.
        plot: file for a plot of them, .png or .svg.
        report: called with a line of text as each measurement begins.

    Raises:
        ArgumentError: steps or a size that cannot be used, or a result that cannot be written; raised before anything
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
    steps: int | None,
    width: int | None,
    height: int | None,
    report: Callable[[str], None],
) -> Result:
    """Measure a package; arguments and errors as in `bench`."""
    give_back()
    peak_is_reset = reset_peak()
    report(f"loading {package}")
    start = time.perf_counter()
    pipe = TextToImage.load(package, **options)
    load_seconds = time.perf_counter() - start
    conditions = _conditions(pipe, steps, width, height)
    sampler, image = _whole_image(pipe, conditions, load_seconds, report)
    if not peak_is_reset:
        image = replace(image, peak_bytes=None, peak_to_weights=None)
    opened, device, family = pipe.package, pipe.device, pipe.family
    guided = conditions.guidance_scale > 1 or pipe.model.static
    inputs = inputs_of(pipe, conditions.height, conditions.width, GUIDED if guided else 1)
    del pipe  # so that its memory does not count as that of the components

    components = {}
    for name in components_in_use(family):
        report(f"calling {name}")
        components[name] = measure_component(opened, device, name, inputs[name])
    report("multiplying large matrices")
    product = measure_matrix_product(device, np.dtype(components[family.denoiser].dtype))
    return Result(
        format=FORMAT,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        machine=describe_machine(device),
        package=_subject(opened, family),
        conditions=conditions,
        matrix_product=product,
        components={name: with_share(figures, product) for name, figures in components.items()},
        sampler=sampler,
        picture=image,
    )


def _conditions(pipe: TextToImage, steps: int | None, width: int | None, height: int | None) -> Conditions:
    """Conditions with the package's defaults filled in; raises a SamplerError for steps that cannot be used."""
    defaults = pipe.model.defaults
    steps = steps_of(defaults, steps)
    scheduler = pipe.model.scheduler_config(defaults.scheduler, defaults.scheduler_options)
    Sampler.from_config(scheduler, num_inference_steps=steps, mu=pipe.model.mu(scheduler, *pipe.model.latents.size))
    default_height, default_width = pipe.model.size
    return Conditions(
        device=pipe.device.name,
        provider=pipe.device.provider,
        session_options=dict(pipe.device.session_options),
        provider_options=dict(pipe.device.providers[0][1]),
        height=default_height if height is None else height,
        width=default_width if width is None else width,
        steps=steps,
        guidance_scale=GUIDANCE_SCALE if defaults.guidance_scale is None else defaults.guidance_scale,
        scheduler=str(scheduler["_class_name"]),
        memory=pipe.memory,
    )


def steps_of(defaults: Defaults, steps: int | None) -> int:
    """Steps of a measurement: those of the call, else the package's default, else 20."""
    stated = defaults.num_inference_steps if steps is None else steps
    return STEPS if stated is None else stated


def _whole_image(
    pipe: TextToImage, conditions: Conditions, load_seconds: float, report: Callable[[str], None]
) -> tuple[SamplerFigures, ImageFigures]:
    """Generate an image, after a short one to warm up."""
    arguments = image_arguments(pipe, conditions.height, conditions.width)

    def generate(steps: int, count: Callable[[Step], None]) -> dict[str, float]:
        out = pipe(
            PROMPT,
            num_inference_steps=steps,
            guidance_scale=conditions.guidance_scale,
            seed=0,
            height=conditions.height,
            width=conditions.width,
            callback=count,
            **arguments,
        )
        return out.timings

    report("warming up")
    generate(min(WARM_UP_STEPS, conditions.steps), lambda _: None)
    report("generating an image")
    calls: list[int] = []
    timings = generate(conditions.steps, lambda step: calls.append(step.index))
    denoiser_seconds = timings[pipe.family.denoiser]
    weights = sum(pipe.package.bytes_of(name) for name in components_in_use(pipe.family))
    peak = peak_bytes()
    return (
        SamplerFigures(len(calls), timings["sampler"] / len(calls), timings["sampler"] / denoiser_seconds),
        ImageFigures(
            load_seconds=load_seconds,
            seconds=timings["total"],
            seconds_by_component={name: value for name, value in timings.items() if name != "total"},
            peak_bytes=peak,
            weights_bytes=weights,
            peak_to_weights=None if peak is None else peak / weights,
        ),
    )


def _subject(package: Package, family: Family) -> Subject:
    manifest = package.manifest
    return Subject(
        name=package.path.resolve().name,
        family=family.name,
        precision=manifest.precision,
        dialect=manifest.dialect,
        source=manifest.recorded.get("source"),
        fingerprint=None if manifest.absent else package.fingerprint,
    )
