"""Images to latents."""

from collections.abc import Callable, Sequence

import numpy as np

from ..families.parts import AnyGraph
from ..ort.session import check_finite

ENCODER = "vae_encoder"

_LOG_VARIANCES = (-30.0, 20.0)  # as diffusers' DiagonalGaussianDistribution bounds them


def encode_pixels(
    encoder: AnyGraph, pixels: np.ndarray, draws: Sequence[Callable[[tuple[int, ...]], np.ndarray]]
) -> np.ndarray:
    """Latents float32 [n, C, h, w] of images, as the decoder takes them.

    The encoder gives a distribution, from which latents are drawn. Graphs of older exporters, and tiny encoders, give
    latents.

    Args:
        encoder: the VAE encoder.
        pixels: float32 [n, 3, H, W] in -1..1.
        draws: for each image, shape -> unit Gaussian.

    Raises:
        NumericalError: the encoder gave NaN or infinity.
    """
    ((name, output),) = encoder({"sample": pixels}).items()
    output = output.astype(np.float32, copy=False)
    check_finite(output, encoder.name)
    if name != "latent_parameters":
        return output
    mean, log_variance = np.split(output, 2, axis=1)
    deviation = np.exp(np.clip(log_variance, *_LOG_VARIANCES) / 2)
    noise = np.concatenate([draw((1, *mean.shape[1:])) for draw in draws])
    latents: np.ndarray = mean + deviation * noise
    return latents


def shrunk(mask: np.ndarray, factor: int) -> np.ndarray:
    """A mask [n, 1, H, W] at the size of latents, by its first pixel of each latent, as in diffusers."""
    return mask[:, :, ::factor, ::factor]
