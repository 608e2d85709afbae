"""Latents to pixels."""

import numpy as np

from .components import check_finite
from .image import to_pixels
from .session import Graph


def decode(decoder: Graph, latents: np.ndarray) -> np.ndarray:
    """Pixels uint8 [n, H, W, 3] of latents float32 [n, C, h, w]; one picture at a time, for the sake of memory.

    `latents` are what the graph takes: divided by the scaling factor.

    Raises:
        NumericalError: the decoder gave NaN or infinity.
    """
    pictures = []
    for latent in latents:
        decoded = decoder({"latent_sample": latent[None]})["sample"].astype(np.float32, copy=False)
        check_finite(decoded, decoder.name)
        pictures.append(to_pixels(decoded))
    return np.concatenate(pictures)
