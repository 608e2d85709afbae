"""Inpainting with a denoiser that knows of no mask: the known region is put back after each step."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..sampling import Sampler, Step


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
