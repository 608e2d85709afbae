"""Upscale and refine ("hires fix"): an image at the training resolution of the model, resized, then refined."""

from contextlib import suppress
from dataclasses import replace

import numpy as np

from .. import plain
from ..errors import ArgumentError, shown
from ..families.family import TEXT_TO_IMAGE
from ..image.encoding import ENCODER
from ..image.pixels import to_image
from ..package.model import Model
from ..pipeline import Callback, Output, TextToImage
from ..plan import plan
from ..request import Request

MAX_FACTOR = 1000
"""Limit of the factor; memory sets a lower one."""

STRENGTH = 0.5
"""Default strength: keeps shapes, and adds the detail that resizing blurred."""


def upscaled(pipe: TextToImage, request: Request, upscale: float, callback: Callback | None = None) -> Output:
    """Generate images by text to image, resize them (Lanczos), and refine them by image to image with the same seeds.

    Their settings are those of the first pass, with `upscale` and `strength`.

    Args:
        pipe: a loaded package; both passes run its graphs.
        request: of the first pass; its strength, 0.5 if None, is that of the second pass.
        upscale: factor of height and width, above 1; the result is rounded to whole latents.
        callback: called after every step of both passes, see `TextToImage.generate`.

    Returns:
        The output of the second pass, with the timings of both.

    Raises:
        ArgumentError: see `passes`.
    """
    request = replace(request, variation_seed=request.variation_seeds())  # where drawn, the same in both passes
    first, second = passes(pipe.model, request, upscale)
    for each in (first, second):
        pipe.plan(each)
    small = pipe.generate(first, callback)
    seeds = [seed for seed in small.seeds if seed is not None]
    large = pipe.generate(replace(second, image=small.images, seed=seeds), callback)
    strength = float(second.strength or STRENGTH)
    settings = [replace(each, upscale=float(upscale), strength=strength) for each in small.settings]
    images = [to_image(np.asarray(image), own) for image, own in zip(large.images, settings, strict=True)]
    seconds = {name: small.timings.get(name, 0.0) + value for name, value in large.timings.items()}
    return replace(large, images=images, timings=seconds, settings=settings)


def can_upscale(model: Model) -> bool:
    """Whether a package can run both passes."""
    fits = TEXT_TO_IMAGE in model.family.tasks and not (model.static or model.inpaints)
    return fits and ENCODER in model.package.components


def passes(model: Model, request: Request, upscale: float) -> tuple[Request, Request]:
    """The requests of both passes, checked before anything is computed; the second has a blank image.

    Raises:
        ArgumentError: a factor or strength out of range, an image or latents, a list of guidance scales, or a package
            of fixed shapes.
        PackageError: the package has no VAE encoder.
    """
    from PIL import Image

    strength = STRENGTH if request.strength is None else request.strength
    upscale = _factor(upscale)
    if not 0 < strength <= 1:
        raise ArgumentError(f"strength={strength:g} is out of range; allowed: above 0, to 1")
    for name in ("image", "latents"):
        if getattr(request, name) is not None:
            raise ArgumentError(f"upscale starts from a prompt and a seed; leave {name} out")
    if np.ndim(request.guidance_scale or 0.0):
        raise ArgumentError(
            "upscale runs two passes with different numbers of steps; give guidance_scale as one number"
        )
    model.package.graph(ENCODER)
    first = replace(request, strength=None)
    own_height, own_width = plan(first, model).size
    height, width = (scaled(side, model, upscale) for side in (own_height, own_width))
    blank = Image.new("RGB", (own_width, own_height))
    second = replace(request, image=blank, strength=strength, height=height, width=width)
    plan(second, model)
    return first, second


def scaled(side: int, model: Model, upscale: float) -> int:
    """A side of the result, in pixels: whole latents."""
    return round(side / model.latents.multiple * upscale) * model.latents.multiple


def _factor(upscale: object) -> float:
    given = shown(upscale)
    with suppress(ValueError):
        factor = plain.real(upscale)
        if 1 < factor <= MAX_FACTOR:
            return float(factor)
        given = f"{factor:g}"
    raise ArgumentError(f"upscale={given} is out of range; allowed: above 1, for example 1.5 or 2")
