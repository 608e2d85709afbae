"""Interpolation between seeds and between prompts."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from .. import plain
from ..errors import ArgumentError, shown
from ..families.conditioning import Conditioning
from ..noise import noise_source, slerp
from ..pipeline import Output, TextToImage
from ..request import Request, seeds_from


def noise_between(seed: int, to_seed: int, share: float, shape: tuple[int, ...], noise: str = "torch") -> np.ndarray:
    """Unit Gaussian float32 [1, C, h, w] between the noise of two seeds.

    Raises:
        ArgumentError: a value that is not a seed, or an unknown source of noise.
    """
    (first,), (second,) = seeds_from(seed, 1), seeds_from(to_seed, 1)
    start, end = (noise_source(noise, each).randn(shape) for each in (first, second))
    return slerp(start, end, share, axes=tuple(range(1, len(shape))))


def conditioning_between(first: Conditioning, second: Conditioning, share: float) -> dict[str, np.ndarray]:
    """Interpolated conditioning of two texts, vector by vector: the embedding of each token, and of the whole text."""
    return {name: slerp(array, second[name], share, axes=(array.ndim - 1,)) for name, array in first.items()}


def walk(pipe: TextToImage, request: Request, images: int, to_seed: int | None = None) -> Iterator[Output]:
    """Generate images from each prompt to the next, and from one seed to another, both ends included.

    Args:
        pipe: a loaded package.
        request: its prompts are the points of the walk; one is enough if the seeds differ. Its seed is that of the
            first image.
        images: from each prompt to the next, both included.
        to_seed: seed of the last image; None is the seed of the first.

    Raises:
        ArgumentError: one prompt and one seed, fewer than two images, or a variation.
    """
    if request.variation_strength > 0:
        raise ArgumentError("a walk goes from one seed to another; leave variation_strength out")
    prompts = [text.prompt for text in request.texts()]
    if len(prompts) < 2 and to_seed is None:
        raise ArgumentError("a walk needs two prompts or two seeds; give a second prompt, or to_seed")
    images = _images(images)
    points = prompts if len(prompts) > 1 else prompts * 2
    conditioning = pipe.encode(points)
    (first_seed,) = seeds_from(request.seed, 1)
    (last_seed,) = (first_seed,) if to_seed is None else seeds_from(to_seed, 1)
    shape = (1, pipe.model.latents.channels, *pipe.model.latent_size_for(request.height, request.width))
    last = (len(points) - 1) * (images - 1)
    for k in range(last + 1):
        point = min(k // (images - 1), len(points) - 2)
        share = k / (images - 1) - point
        start, target = ({name: rows[at : at + 1] for name, rows in conditioning.items()} for at in (point, point + 1))
        step = replace(
            request,
            prompt=points[point + round(share)],
            prompt_embeds=conditioning_between(start, target, share),
            latents=noise_between(first_seed, last_seed, k / last, shape, request.noise),
        )
        yield pipe.generate(step)


def _images(images: object) -> int:
    with suppress(ValueError):
        count = plain.whole(images)
        if count >= 2:
            return count
    raise ArgumentError(f"a walk of {shown(images)} images; allowed: 2 or more, from each prompt to the next")
