"""Pictures to latents, and what stays of a picture that is drawn anew in part."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .components import check_finite
from .sampling import Sampler, Step
from .session import Graph

ENCODER = "vae_encoder"

_LOG_VARIANCES = (-30.0, 20.0)  # as diffusers' DiagonalGaussianDistribution bounds them


def encode_pixels(
    encoder: Graph, pixels: np.ndarray, draws: Sequence[Callable[[tuple[int, ...]], np.ndarray]]
) -> np.ndarray:
    """Latents float32 [n, C, h, w] of pictures, as the decoder takes them.

    The encoder gives a distribution, of which one is drawn; older exporters' graphs, and tiny encoders, give latents.

    Args:
        encoder: the VAE encoder.
        pixels: float32 [n, 3, H, W] in -1..1.
        draws: for each picture, shape -> unit Gaussian.

    Raises:
        NumericalError: the encoder gave NaN or infinity.
    """
    ((name, given),) = encoder({"sample": pixels}).items()
    given = given.astype(np.float32, copy=False)
    check_finite(given, encoder.name)
    if name != "latent_parameters":
        return given
    mean, log_variance = np.split(given, 2, axis=1)
    deviation = np.exp(np.clip(log_variance, *_LOG_VARIANCES) / 2)
    noise = np.concatenate([draw((1, *mean.shape[1:])) for draw in draws])
    return mean + deviation * noise


def shrunk(mask: np.ndarray, factor: int) -> np.ndarray:
    """A mask [n, 1, H, W] at the size of latents, the first pixel of each deciding, as in diffusers."""
    return mask[:, :, ::factor, ::factor]


class Kept(NamedTuple):
    """Inpainting with a network that knows of no mask: after each step, what that leaves out is the picture's again.

    As noisy as the next call wants it, with the noise that the run began with; at the end without any. As in diffusers'
    inpainting pipelines (the idea: Lugmayr et al. 2022, RePaint, eq. 8).

    Attributes:
        mask: float32 [n, 1, h, w], 1 where the picture is drawn anew.
        image_latents: of the picture, float32 [n, C, h, w].
        noise: unit Gaussian of that shape.
    """

    mask: np.ndarray
    image_latents: np.ndarray
    noise: np.ndarray

    def outside(self) -> tuple[np.ndarray, np.ndarray]:
        """Picture and noise, float32 [n, C, h, w], where the mask leaves them."""
        left = 1 - self.mask
        return left * self.image_latents, left * self.noise

    @staticmethod
    def levels(sampler: Sampler) -> np.ndarray:
        """How much of picture and of noise there is after each call, float64 [calls, 2]."""
        return np.array([*zip(sampler.alphas[1:], sampler.sigmas[1:], strict=True), (1.0, 0.0)])


def outside_kept(steps: Iterator[Step], kept: Kept, sampler: Sampler) -> Iterator[Step]:
    """The steps of the loop on the host, whose latents can be written into, with what is kept put back."""
    picture, noise = kept.outside()
    levels = Kept.levels(sampler).astype(np.float32)
    for step in steps:
        alpha, sigma = levels[step.index]
        latents = step.latents
        latents *= kept.mask
        latents += alpha * picture + sigma * noise
        yield step
