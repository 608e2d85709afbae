"""Measure the components of a package one by one, each in a session of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from triptych.runtime import TextToImage
from triptych.runtime.conditioning import completed
from triptych.runtime.denoising.bound_denoiser import BoundDenoiser
from triptych.runtime.denoising.guidance import Guidance
from triptych.runtime.families.conditioning import EXTRA_CHANNELS, SAMPLE, TIMESTEP
from triptych.runtime.families.family import TEXT_TO_IMAGE, Family
from triptych.runtime.families.parts import AnyGraph
from triptych.runtime.footprint import give_back
from triptych.runtime.ort.device import Device
from triptych.runtime.package.graphs import DECODER, load_graph
from triptych.runtime.package.manifest import ComponentRecord
from triptych.runtime.package.package import Package

from .measure import Latency, time_calls
from .memory import resident_bytes
from .result import ComponentFigures, MatrixProduct

Arrays = Mapping[str, np.ndarray]

GUIDED = 2  # rows of the denoiser's batch for one image: with the prompt and with the negative prompt
_TIMESTEP = 500  # any will do: the work is the same at all timesteps
PROMPT = "a red heart"


def components_in_use(family: Family) -> tuple[str, ...]:
    """Names of the components that an image needs, in the order of their use."""
    return (*family.text_encoders, family.denoiser, DECODER)


def image_arguments(pipe: TextToImage, height: int, width: int) -> dict[str, Any]:
    """Further arguments of a call for models that need an image or a mask; all of the image is redrawn."""
    family = pipe.family
    if not pipe.model.inpaints and TEXT_TO_IMAGE in family.tasks:
        return {}
    image = Image.new("RGB", (width, height), "gray")
    if family.image_guidance_scale is not None:
        return {"image": image}
    return {"image": image, "strength": 1.0} | ({"mask_image": image} if pipe.model.inpaints else {})


def inputs_of(pipe: TextToImage, height: int, width: int, rows: int = GUIDED) -> dict[str, dict[str, np.ndarray]]:
    """Inputs of each component for one image of that size in pixels, with random latents; `rows` of the denoiser."""
    random = np.random.default_rng(0)
    sides = height // pipe.model.latents.factor, width // pipe.model.latents.factor
    latents = random.standard_normal((1, pipe.model.latents.channels, *sides), np.float32)
    conditioning = completed(pipe.model, pipe.encode([PROMPT]), latents, Guidance())
    # A mask or an image in further channels costs the same, whatever is in it
    extra_channels = pipe.model.latents.denoiser_channels - pipe.model.latents.channels
    return {
        **{name: {"input_ids": each.encode([PROMPT]).ids} for name, each in pipe.text_encoders.tokenizers.items()},
        pipe.family.denoiser: {
            "sample": np.pad(latents, ((0, 0), (0, extra_channels), (0, 0), (0, 0))).repeat(rows, axis=0),
            "timestep": np.asarray(_TIMESTEP, np.float32),
            **{name: array.repeat(rows, axis=0) for name, array in conditioning.items()},
        },
        DECODER: {"latent_sample": pipe.model.latents.to_vae(latents)},
    }


def measure_component(
    package: Package,
    device: Device,
    name: str,
    inputs: Arrays,
    time: Callable[[Callable[[], object]], Latency] = time_calls,
) -> ComponentFigures:
    """Load one component, call it with `inputs`, and release it; `share_of_matrix_product` is left None.

    On a GPU a call of the denoiser is one of the loop there: its inputs and outputs stay on the device.
    """
    give_back()
    before = resident_bytes()
    graph = load_graph(package, device, name)
    on_device = device.memory.kind != "cpu" and TIMESTEP in inputs
    latency = time(bound_call(graph, inputs) if on_device else lambda: graph(inputs))
    resident = max(0, resident_bytes() - before)
    shapes = {graph.inputs[key].name: list(array.shape) for key, array in inputs.items()}
    macs = macs_at(package.manifest.component(name), shapes)
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


def bound_call(graph: AnyGraph, inputs: Arrays) -> Callable[[], object]:
    """A call of a denoiser with its inputs on the device already, and a wait for its end."""
    (output,) = graph.outputs.values()
    channels = int(output.shape[1])
    conditioning = {name: array for name, array in inputs.items() if name not in (SAMPLE, TIMESTEP)}
    if inputs[SAMPLE].shape[1] > channels:
        conditioning[EXTRA_CHANNELS] = inputs[SAMPLE][:, channels:]
    latents = (len(inputs[SAMPLE]), channels, *inputs[SAMPLE].shape[2:])
    shapes = {name: array.shape for name, array in conditioning.items()}

    def prepare() -> BoundDenoiser:
        denoiser = BoundDenoiser(graph, latents, shapes)
        denoiser.condition(conditioning)
        denoiser.feed(inputs[SAMPLE], float(inputs[TIMESTEP]))
        return denoiser

    def call(denoiser: BoundDenoiser) -> None:
        denoiser.run()
        denoiser.wait()

    return partial(graph.device.call, call, graph.device.call(prepare))


def with_share(figures: ComponentFigures, product: MatrixProduct) -> ComponentFigures:
    """The figures with `share_of_matrix_product` filled in."""
    if figures.flops_per_second is None:
        return figures
    return replace(figures, share_of_matrix_product=figures.flops_per_second / product.flops_per_second)


def macs_at(record: ComponentRecord, shapes: Mapping[str, Sequence[int]]) -> int | None:
    """MACs of a call with inputs of these shapes, from a component's record in the manifest; None if not known.

    The manifest counts them at one set of shapes, batch 1. They grow in proportion to the batch, but not to the
    size of the image (attention grows with its square), so that they are not known at any other size.
    """
    macs, default = record.macs, record.default_shape
    if macs is None or default is None or default.keys() != shapes.keys():
        return None
    batches = set()
    for name, shape in shapes.items():
        known = default[name]
        if not shape:  # a timestep has no batch
            continue
        if len(shape) != len(known) or list(shape[1:]) != list(known[1:]):
            return None
        batches.add(shape[0] / known[0])
    return round(macs * batches.pop()) if len(batches) == 1 else None
