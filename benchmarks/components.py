"""Measure the components of a package one by one, each in a session of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from triptych.runtime import TextToImage
from triptych.runtime.denoising.guidance import Guidance
from triptych.runtime.families.family import TEXT_TO_IMAGE, Family
from triptych.runtime.ort.device import Device
from triptych.runtime.package.graphs import DECODER, load_graph
from triptych.runtime.package.package import Package

from .measure import Latency, time_calls
from .memory import release, resident_bytes
from .result import ComponentFigures, MatrixProduct

Arrays = Mapping[str, np.ndarray]

GUIDED = 2  # rows of the U-Net's batch for one picture: with the prompt and with the negative prompt
_TIMESTEP = 500  # in the middle of the schedule; the work is the same at all of them
PROMPT = "a red heart"


def components_in_use(family: Family) -> tuple[str, ...]:
    """Those that a picture needs, in the order in which it needs them."""
    return (*family.text_encoders, family.generator, DECODER)


def beginning_of(pipe: TextToImage, height: int, width: int) -> dict[str, Any]:
    """What a call begins from where a model makes no picture from text alone, all of it to be drawn: its arguments."""
    family = pipe.family
    if not pipe.masked and TEXT_TO_IMAGE in family.tasks:
        return {}
    image = Image.new("RGB", (width, height), "gray")
    if family.image_guidance_scale is not None:
        return {"image": image}
    return {"image": image, "strength": 1.0} | ({"mask_image": image} if pipe.masked else {})


def inputs_of(pipe: TextToImage, height: int, width: int) -> dict[str, dict[str, np.ndarray]]:
    """What each component is called with for one picture of that size in pixels, with guidance; random latents."""
    generator = np.random.default_rng(0)
    sides = height // pipe.vae_scale_factor, width // pipe.vae_scale_factor
    latents = generator.standard_normal((1, pipe.latent_channels, *sides), np.float32)
    conditioning = pipe.completed(pipe.encode([PROMPT]), latents, Guidance())
    # channels for a mask or a picture, which cost the same whatever is in them
    behind = pipe.sample_channels - pipe.latent_channels
    return {
        **{name: {"input_ids": each.encode([PROMPT]).ids} for name, each in pipe.text_encoders.tokenizers.items()},
        pipe.family.generator: {
            "sample": np.pad(latents, ((0, 0), (0, behind), (0, 0), (0, 0))).repeat(GUIDED, axis=0),
            "timestep": np.asarray(_TIMESTEP, np.float32),
            **{name: array.repeat(GUIDED, axis=0) for name, array in conditioning.items()},
        },
        DECODER: {"latent_sample": latents / np.float32(pipe.scaling_factor)},
    }


def measure_component(
    package: Package,
    device: Device,
    name: str,
    inputs: Arrays,
    time: Callable[[Callable[[], object]], Latency] = time_calls,
) -> ComponentFigures:
    """Load one component, call it with `inputs`, and let it go; what needs the matrix product is left unknown."""
    release()
    before = resident_bytes()
    graph = load_graph(package, device, name)
    latency = time(lambda: graph(inputs))
    resident = max(0, resident_bytes() - before)
    shapes = {key: list(array.shape) for key, array in inputs.items()}
    macs = macs_at((package.manifest or {}).get("components", {}).get(name, {}), shapes)
    return ComponentFigures(
        shapes=shapes,
        dtype=next(iter(graph.outputs.values())).dtype.name,
        load_seconds=graph.load_seconds,
        first_seconds=latency.first_seconds,
        calls=latency.calls,
        median_seconds=latency.median_seconds,
        p90_seconds=latency.p90_seconds,
        macs=macs,
        flops_per_second=None if macs is None else 2 * macs / latency.median_seconds,
        share_of_matrix_product=None,
        bytes=package.bytes_of(name),
        resident_bytes=resident,
    )


def with_share(figures: ComponentFigures, product: MatrixProduct) -> ComponentFigures:
    """The figures with the share of what a large matrix product reaches."""
    if figures.flops_per_second is None:
        return figures
    return replace(figures, share_of_matrix_product=figures.flops_per_second / product.flops_per_second)


def macs_at(facts: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> int | None:
    """The MACs of a call with inputs of these shapes, from a component's facts in the manifest.

    The manifest counts them at one set of shapes, batch 1. They grow in proportion to the batch, but not to the size of
    the picture (attention grows with its square), so at any other size they are not known: None.
    """
    macs, default = facts.get("macs"), facts.get("default_shape")
    if macs is None or default is None or default.keys() != shapes.keys():
        return None
    batches = set()
    for name, shape in shapes.items():
        known = default[name]
        if len(shape) != len(known) or list(shape[1:]) != list(known[1:]):
            return None
        if shape:  # a timestep has no batch
            batches.add(shape[0] / known[0])
    return round(macs * batches.pop()) if len(batches) == 1 else None
