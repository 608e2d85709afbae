"""From one picture to another: between seeds and between prompts."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..arguments import seeds_from
from ..errors import ArgumentError
from ..families.conditioning import Conditioning
from ..noise import noise_source
from ..pipeline import Output, TextToImage

_PARALLEL = 1e-6  # of the angle, in radians: a straight line is then the same


def slerp(first: np.ndarray, second: np.ndarray, share: float, axes: tuple[int, ...]) -> np.ndarray:
    """Spherical interpolation (Shoemake 1985): along the arc between two vectors, of arrays of such.

    Of Gaussian noise the result is as long as Gaussian noise is, which a straight line's is not.

    Args:
        first: where `share` 0 is.
        second: where it is 1, of the same shape.
        share: how far to go.
        axes: those over which an entry is one vector.
    """
    one, other = first.astype(np.float64), second.astype(np.float64)
    lengths = [np.sqrt((each**2).sum(axes, keepdims=True)) for each in (one, other)]
    product = np.maximum(lengths[0] * lengths[1], np.finfo(np.float64).tiny)
    angle = np.arccos(np.clip((one * other).sum(axes, keepdims=True) / product, -1, 1))
    sine = np.where(angle < _PARALLEL, 1, np.sin(angle))
    of_first = np.where(angle < _PARALLEL, 1 - share, np.sin((1 - share) * angle) / sine)
    of_second = np.where(angle < _PARALLEL, share, np.sin(share * angle) / sine)
    return (of_first * one + of_second * other).astype(np.float32)


def noise_between(seed: int, to_seed: int, share: float, shape: tuple[int, ...], noise: str = "torch") -> np.ndarray:
    """Unit Gaussian float32 [1, C, h, w] between the noise of two seeds.

    Raises:
        ArgumentError: a seed that is none, or an unknown source of noise.
    """
    (first,), (second,) = seeds_from(seed, 1), seeds_from(to_seed, 1)
    begin, end = (noise_source(noise, each).randn(shape) for each in (first, second))
    return slerp(begin, end, share, axes=tuple(range(1, len(shape))))


def conditioning_between(first: Conditioning, second: Conditioning, share: float) -> dict[str, np.ndarray]:
    """Between what two texts condition the latent generator with, each vector by itself: a token's, a whole text's."""
    return {name: slerp(array, second[name], share, axes=(array.ndim - 1,)) for name, array in first.items()}


def walk(
    pipe: TextToImage,
    prompts: Sequence[str],
    pictures: int,
    *,
    seed: int | None = None,
    to_seed: int | None = None,
    height: int | None = None,
    width: int | None = None,
    noise: str = "torch",
    **arguments: Any,
) -> Iterator[Output]:
    """Pictures on the way from each prompt to the next, and from one seed to another; the first and last are their own.

    Args:
        pipe: what makes them.
        prompts: where the walk leads past; one will do where the seeds differ.
        pictures: from each prompt to the next, both included.
        seed: at the beginning; None draws one.
        to_seed: at the end; None is the same.
        height, width, noise, arguments: see `TextToImage.__call__`.

    Raises:
        ArgumentError: nowhere to go, or fewer than two pictures.
    """
    if len(prompts) < 2 and to_seed is None:
        raise ArgumentError(
            "a walk leads from prompt to prompt, or from seed to seed; give a second prompt, or to_seed"
        )
    if pictures < 2:
        raise ArgumentError(f"a walk of {pictures} pictures; allowed: 2 or more, from each prompt to the next")
    points = list(prompts) if len(prompts) > 1 else [*prompts] * 2
    conditioning = pipe.encode(points)
    (begin,) = seeds_from(seed, 1)
    end = begin if to_seed is None else to_seed
    shape = (1, pipe.latent_channels, *pipe.latent_size_of(height, width))
    last = (len(points) - 1) * (pictures - 1)
    for k in range(last + 1):
        point = min(k // (pictures - 1), len(points) - 2)
        share = k / (pictures - 1) - point
        here, there = ({name: rows[at : at + 1] for name, rows in conditioning.items()} for at in (point, point + 1))
        yield pipe(
            points[point + round(share)],
            prompt_embeds=conditioning_between(here, there, share),
            latents=noise_between(begin, end, k / last, shape, noise),
            height=height,
            width=width,
            noise=noise,
            **arguments,
        )
