"""Mask blending: inpainting with a denoiser without a mask input, by restoring the known region after each step."""

from typing import NamedTuple

import numpy as np

from ..sampling import Sampler
from ..sampling.denoise import AfterStep


class KnownRegion(NamedTuple):
    """Known region of an image: outside of the mask, the latents are reset to the image's after each step.

    Their noise level is that of the next call, with the noise that the run started from, and zero at the end.
    As in diffusers' inpainting pipelines (the idea: Lugmayr et al. 2022, RePaint, eq. 8).

    Attributes:
        mask: float32 [n, 1, h, w], 1 where the image is redrawn.
        image_latents: of the image, float32 [n, C, h, w].
        noise: unit Gaussian of that shape.
    """

    mask: np.ndarray
    image_latents: np.ndarray
    noise: np.ndarray

    def outside(self) -> tuple[np.ndarray, np.ndarray]:
        """Image latents and noise, float32 [n, C, h, w], zero inside of the mask."""
        left = 1 - self.mask
        return left * self.image_latents, left * self.noise

    @staticmethod
    def levels(sampler: Sampler) -> np.ndarray:
        """Shares of image and noise after each call, float64 [calls, 2]."""
        return np.array([*zip(sampler.alphas[1:], sampler.sigmas[1:], strict=True), (1.0, 0.0)])


def mask_blending(known: KnownRegion, sampler: Sampler) -> AfterStep:
    """The function for `sampling.denoise` that restores the known region after each step, on the host."""
    image, noise = known.outside()
    levels = KnownRegion.levels(sampler).astype(np.float32)

    def blend(latents: np.ndarray, index: int) -> np.ndarray:
        alpha, sigma = levels[index]
        blended: np.ndarray = latents * known.mask + (alpha * image + sigma * noise)
        return blended

    return blend
