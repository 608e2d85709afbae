"""Upscale and refine ("hires fix"): a picture in a size that the model knows, scaled up and drawn over."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..image.pixels import SETTINGS_KEY, to_image
from ..image.settings import Settings
from ..pipeline import Output, TextToImage

STRENGTH = 0.5
"""So that shapes stay, and what scaling up has blurred is drawn anew."""


def upscaled(
    pipe: TextToImage,
    prompt: str | Sequence[str],
    *,
    upscale: float,
    strength: float = STRENGTH,
    height: int | None = None,
    width: int | None = None,
    seed: int | Sequence[int] | None = None,
    **arguments: Any,
) -> Output:
    """Pictures by text-to-image, scaled up (Lanczos), and from there by image-to-image, with the same texts and seeds.

    Their settings are those of the first pass, with `upscale` and `strength`, which make them again here.

    Args:
        pipe: what makes them, in both sizes with the same graphs.
        prompt: see `TextToImage.__call__`.
        upscale: times height and width, above 1; the result is rounded to whole latents.
        strength: share of the steps that is run at the new size, above 0, to 1.
        height, width: of the first pass; None is the package's own.
        seed: of both passes; None draws one.
        arguments: of `TextToImage.__call__`, for both passes; but neither picture nor noise to begin from.

    Returns:
        What the second pass gave, and the seconds of both.

    Raises:
        ArgumentError: a factor or strength that is none, something to begin from, a list of guidance scales, or a
            package of fixed shapes.
    """
    if not upscale > 1 or not np.isfinite(upscale):
        raise ArgumentError(f"upscale={upscale:g} is out of range; allowed: above 1, such as 1.5 or 2")
    if not 0 < strength <= 1:
        raise ArgumentError(f"strength={strength:g} is out of range; allowed: above 0, to 1")
    for name in ("image", "latents"):
        if name in arguments:
            raise ArgumentError(f"upscale begins from a text and a seed; leave {name} out")
    if np.ndim(arguments.get("guidance_scale", 0.0)):
        raise ArgumentError("upscale runs two passes of other numbers of steps; give guidance_scale as one number")
    sides = pipe.latent_size_of(height, width)
    larger = [round(side * upscale) * pipe.vae_scale_factor for side in sides]
    pipe.latent_size_of(*larger)  # where shapes are fixed, this is an error, before anything is computed
    small = pipe(prompt, height=height, width=width, seed=seed, **arguments)
    arguments |= {"image": small.images, "strength": strength, "seed": small.seeds}
    large = pipe(prompt, height=larger[0], width=larger[1], **arguments)
    images = []
    for before, after in zip(small.images, large.images, strict=True):
        first = Settings.from_json(before.info[SETTINGS_KEY])
        images.append(to_image(np.asarray(after), replace(first, upscale=float(upscale), strength=float(strength))))
    seconds = {name: small.timings.get(name, 0.0) + value for name, value in large.timings.items()}
    return replace(large, images=images, timings=seconds)
