"""Previews without a decoder: each latent in its colour."""

import numpy as np

from ..errors import PackageError
from ..package.graphs import DECODER, PREVIEW_DECODER
from ..package.package import Package
from .pixels import to_pixels


def has_previews(package: Package) -> bool:
    """Whether steps can be previewed cheaply: by a tiny decoder, or by the colours of latents in the manifest."""
    return PREVIEW_DECODER in package.components or package.manifest.component(DECODER).latent_rgb is not None


def preview_pixels(package: Package, latents: np.ndarray, factor: int) -> np.ndarray:
    """Pixels uint8 [n, h * factor, w * factor, 3] by the colours of latents that a package records.

    Args:
        package: with `latent_rgb` of its VAE decoder.
        latents: input of that decoder, float32 [n, C, h, w].
        factor: pixels to a latent, along a side; between latents, colours are interpolated.

    Raises:
        PackageError: the package records no colours, or those of another number of channels.
    """
    from PIL import Image

    recorded = package.manifest.component(DECODER).latent_rgb
    if recorded is None:
        raise PackageError(
            f"{package.path} has neither a preview decoder nor colours of latents; export the checkpoint again"
        )
    colours = np.array(recorded, np.float32)
    if colours.shape[1] != latents.shape[1] + 1:
        raise PackageError(
            f"{package.path}: latent_rgb of {DECODER} has {colours.shape[1]} numbers for each colour; latents of "
            f"{latents.shape[1]} channels need {latents.shape[1] + 1}"
        )
    images = to_pixels(np.einsum("kc,nchw->nkhw", colours[:, :-1], latents) + colours[:, -1, None, None])
    size = latents.shape[3] * factor, latents.shape[2] * factor
    return np.stack([np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BILINEAR)) for each in images])
