"""The latents that a run starts from: noise of the seeds, the latents of an image, a mask, extra channels."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .image.init_image import Encode
from .noise import noise_source
from .plan import Plan


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
    draw: Callable[[tuple[int, ...]], np.ndarray]
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
    draws = [noise_source(plan.request.noise, seed or 0).randn for seed in plan.seeds]

    def draw(_: tuple[int, ...]) -> np.ndarray:
        return np.concatenate([randn((1, *plan.shape[1:])) for randn in draws])

    latents, init, shape = plan.request.latents, plan.init_image, plan.shape
    image_latents = None if init is None else init.latents(encode, draws, shape)
    if latents is not None:
        noise = np.asarray(latents, np.float32)
    elif image_latents is not None and init is not None and init.resumes_unmasked:
        noise = image_latents
    else:
        noise = draw(shape)
    if init is None:
        return InitLatents(noise, draw)
    extra_channels = init.extra_channels(encode, draws, shape)
    return InitLatents(noise, draw, image_latents, init.mask(shape), extra_channels)
