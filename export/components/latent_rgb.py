"""Colours of latents: the affine map from a latent to the mean colour of its pixels, for previews without a decoder."""

from dataclasses import dataclass

import numpy as np
import torch

from .component import Component

_SIDE = 16  # latents on a side of what is decoded for the fit
_BLOCKS = (2, 4, 8)  # sides of the squares of equal latents in it: images are smooth, and noise is not
_ROWS = 2
_DIGITS = 6


@dataclass(frozen=True)
class LatentRgb:
    """Least-squares fit of a decoder's output in -1..1: for each colour a factor for each channel, and a constant."""

    red: tuple[float, ...]
    green: tuple[float, ...]
    blue: tuple[float, ...]


def fit_latent_rgb(decoder: Component) -> LatentRgb | None:
    """Fit the colours of latents to the decoder itself, on random squares of one latent each; equal on every run.

    None where PyTorch itself gives NaN, which the verification reports.
    """
    latents, colours = [], []
    generator = np.random.default_rng(0)
    (declared,) = decoder.inputs.values()
    channels = int(declared.shape[1])
    for block in _BLOCKS:
        drawn = declared.draw(generator, (_ROWS, channels, _SIDE // block, _SIDE // block))
        squares = drawn.repeat(block, axis=2).repeat(block, axis=3)
        with torch.inference_mode():
            (pixels,) = decoder.reference(torch.from_numpy(squares))
        latents.append(_flat(squares))
        colours.append(_flat(torch.nn.functional.adaptive_avg_pool2d(pixels.float().clamp(-1, 1), _SIDE).numpy()))
    inputs, outputs = np.concatenate(latents), np.concatenate(colours)
    if not np.isfinite(outputs).all():
        return None
    solution, *_ = np.linalg.lstsq(np.hstack([inputs, np.ones((len(inputs), 1))]), outputs)
    red, green, blue = solution.T.round(_DIGITS).tolist()
    return LatentRgb(tuple(red), tuple(green), tuple(blue))


def _flat(images: np.ndarray) -> np.ndarray:
    """[n, C, h, w] as float64 [n h w, C]."""
    return images.transpose(0, 2, 3, 1).reshape(-1, images.shape[1]).astype(np.float64)
