"""The latents that a run starts from: noise of the seeds, the latents of an image, a mask, extra channels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .image.init_image import Encode
from .noise import noise_source, slerp
from .plan import Plan

Draw = Callable[[tuple[int, ...]], np.ndarray]
"""Shape -> unit Gaussian."""


@dataclass(frozen=True, eq=False)
class InitLatents:
    """Arrays that the loop starts from.

    Attributes:
        noise: unit Gaussian float32 [n, C, h, w]; where a run resumes, the latents that it resumes from.
        draw: shape -> more noise of the same seeds, for stochastic samplers.
        image_latents: of the image to start from, float32 [n, C, h, w], or None.
        mask: float32 [n, 1, h, w], 1 where the image is redrawn, or None.
        extra_channels: channels after those of the latents, see `conditioning.EXTRA_CHANNELS`; {} without.
    """

    noise: np.ndarray
    draw: Draw
    image_latents: np.ndarray | None = None
    mask: np.ndarray | None = None
    extra_channels: dict[str, np.ndarray] = field(default_factory=dict)


def init_latents(plan: Plan, encode: Encode) -> InitLatents:
    """Draw noise and encode the image, in the order in which diffusers' pipelines draw.

    Args:
        plan: of the call; it has checked all latents of the caller.
        encode: the VAE encoder, see `TextToImage.encode_image`.

    Raises:
        PackageError: an image, and a package without a VAE encoder.
        NumericalError: the encoder gave NaN or infinity.
    """
    draws = _streams(plan, plan.seeds)
    varied = None if plan.variation_seeds is None else _streams(plan, plan.variation_seeds)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return _rows(draws, shape)

    latents, init, shape = plan.request.latents, plan.init_image, plan.shape
    before = draws if varied is None else [_together(*pair) for pair in zip(draws, varied, strict=True)]
    image_latents = None if init is None else init.latents(encode, before, shape)
    if latents is not None:
        noise = np.asarray(latents, np.float32)
    elif image_latents is not None and init is not None and init.resumes_unmasked:
        noise = image_latents
    else:
        noise = draw(shape)
        if varied is not None:
            noise = slerp(noise, _rows(varied, shape), plan.request.variation_strength, axes=(1, 2, 3))
    if init is None:
        return InitLatents(noise, draw)
    extra_channels = init.extra_channels(encode, draws, shape)
    return InitLatents(noise, draw, image_latents, init.mask(shape), extra_channels)


def _streams(plan: Plan, seeds: Sequence[int | None]) -> list[Draw]:
    return [noise_source(plan.request.noise, seed or 0).randn for seed in seeds]


def _rows(draws: Sequence[Draw], shape: tuple[int, ...]) -> np.ndarray:
    """The next values of each stream, float32 of `shape`, a row of each."""
    return np.concatenate([randn((1, *shape[1:])) for randn in draws])


def _together(first: Draw, second: Draw) -> Draw:
    """Values of the first stream; the second one advances with it, so that its noise is that of its own image."""

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        second(shape)
        return first(shape)

    return draw
