"""Conversion of HTTP fields into pipeline requests, within the limits of the service."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL.Image import Resampling

from ...image.encoding import ENCODER
from ...package.model import Model
from ...parsing import size_of
from ...pipeline import TextToImage
from ...plan import plan
from ...request import Request
from ...tasks.batching import IMAGES, TEXTS
from ...tasks.upscaling import can_upscale, passes, scaled
from ..errors import invalid
from ..limits import MAX_CHUNKS, Limits
from .schema import ImageFields, setting_names

_GRIDS = ("timesteps", "sigmas")


def requests_of(
    pipe: TextToImage, body: ImageFields, limits: Limits, start: Mapping[str, Any], upscale: float | None = None
) -> list[Request]:
    """Create one request per image, with consecutive seeds.

    Args:
        pipe: pipeline of the requested model.
        body: the fields of the request.
        limits: of the service.
        start: image, mask_image and strength, if present.
        upscale: factor of a second pass; the requests are those of the first.

    Raises:
        ServiceError: a value exceeds the limits, or the package lacks a component.
        ArgumentError, SamplerError: a value is invalid for this package.
    """
    _check_limits(pipe, body, limits)
    if "image" in start and ENCODER not in pipe.package.components:
        raise invalid("this model has no VAE encoder, which image-to-image needs", "image")
    if upscale is not None and not can_upscale(pipe.model):
        raise invalid(f"upscale={upscale:g}: this model cannot upscale; leave it out", "upscale")
    settings = {name: getattr(body, name) for name in setting_names(type(body))}
    width, height = (None, None) if body.size == "auto" else size_of("size", body.size)
    values = {name: value for name, value in settings.items() if value is not None}
    images = Request(**{**values, "seed": body.seed, "num_images_per_prompt": body.n})
    seeds = images.seeds()
    variation_seeds: Sequence[int | None] = images.variation_seeds() or [None] * body.n
    request = Request(**{**values, **start, "width": width, "height": height, "seed": seeds[0]})
    # Planned now, so that a request that this package cannot run is rejected before it is queued
    first = request if upscale is None else replace(request, strength=None)
    height, width = plan(first, pipe.model).size
    first = replace(first, height=height, width=width)
    _check_size(*size_of_result(pipe.model, first, upscale), limits)
    if upscale is not None:
        passes(pipe.model, request, upscale)  # after the size is checked: it makes an image of it
    # Resized now, as the pipeline does: queued images stay small, and requests of one size can share a call
    resized = {
        name: start[name].resize((width, height), Resampling.LANCZOS) for name in IMAGES if start.get(name) is not None
    }
    steps = values.get("num_inference_steps", pipe.model.num_inference_steps)
    shared = replace(request, **resized, height=height, width=width, num_inference_steps=steps)
    return [
        replace(shared, seed=seed, variation_seed=variation_seed)
        for seed, variation_seed in zip(seeds, variation_seeds, strict=True)
    ]


def size_of_result(model: Model, request: Request, upscale: float | None) -> tuple[int, int]:
    """Height and width in pixels of an image of `requests_of`, after the second pass if there is one."""
    height, width = (side * model.latents.factor for side in model.latent_size_for(request.height, request.width))
    if upscale is None:
        return height, width
    return scaled(height, model, upscale), scaled(width, model, upscale)


def _check_size(height: int, width: int, limits: Limits) -> None:
    if height * width > limits.pixels:
        raise invalid(f"{width}x{height} is {height * width} pixels; allowed: {limits.pixels}", "size")


def _check_limits(pipe: TextToImage, body: ImageFields, limits: Limits) -> None:
    if body.n > limits.pictures:
        raise invalid(f"n={body.n}; allowed: 1 to {limits.pictures}", "n")
    for name in TEXTS:
        _check_text(pipe, name, getattr(body, name), limits)
    steps = pipe.model.num_inference_steps if body.num_inference_steps is None else body.num_inference_steps
    if steps > limits.steps:
        raise invalid(f"num_inference_steps={steps}; allowed: 1 to {limits.steps}", "num_inference_steps")
    for name in _GRIDS:
        grid = getattr(body, name)
        if isinstance(grid, list) and len(grid) > limits.steps:
            raise invalid(f"{name} has {len(grid)} numbers; allowed: {limits.steps}", name)


def _check_text(pipe: TextToImage, name: str, text: str | None, limits: Limits) -> None:
    if text is None:
        return
    if len(text) > limits.prompt:
        raise invalid(f"{name} has {len(text)} characters; allowed: {limits.prompt}", name)
    chunks = pipe.text_encoders.chunks_of(text)
    if chunks > MAX_CHUNKS:
        raise invalid(f"{name} has {chunks} chunks; allowed: {MAX_CHUNKS}", name)
