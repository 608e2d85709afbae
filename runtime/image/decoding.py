"""Latents to pixels: whole, or in overlapping tiles to save memory."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..errors import PackageError
from ..families.parts import AnyGraph
from ..ort.session import check_finite
from .pixels import to_pixels

TILE = 64
"""Latents on a side of a tile; all tiles have one size. A decoder normalises (GroupNorm) and attends over its whole
input, so a tile differs from the whole image, and a smaller tile differs more. SD 1.x was trained on this size."""

OVERLAP = 16
"""Latents that neighbours share, at least: a quarter of a tile, as in diffusers' `AutoencoderKL.tiled_decode`."""


def decode(decoder: AnyGraph, latents: np.ndarray) -> np.ndarray:
    """Pixels uint8 [n, H, W, 3] of latents float32 [n, C, h, w]; one image at a time, to save memory.

    `latents` are those of the graph: divided by the scaling factor.

    Raises:
        NumericalError: the decoder gave NaN or infinity.
    """
    return np.concatenate([to_pixels(_run(decoder, latent[None])) for latent in latents])


def decode_in_tiles(
    decoder: AnyGraph, latents: np.ndarray, factor: int, *, tile: int = TILE, overlap: int = OVERLAP
) -> np.ndarray:
    """Decode one tile at a time; an image no larger than a tile is decoded whole.

    Args:
        decoder: where it has fixed shapes, they are those of the tiles.
        latents: those of the graph, see `decode`.
        factor: pixels to a latent, along a side.
        tile: latents on a side of a tile.
        overlap: latents that neighbours share, at least.
    """
    sides = decoder.inputs["latent_sample"].shape[2:]
    height, width = (side if isinstance(side, int) else tile for side in sides)
    rows, columns = spans(latents.shape[2], height, overlap, factor), spans(latents.shape[3], width, overlap, factor)
    images = []
    for latent in latents:
        image = np.zeros((1, 3, latent.shape[1] * factor, latent.shape[2] * factor), np.float32)
        for top, row_weights in rows:
            for left, column_weights in columns:
                part = latent[None, :, top : top + height, left : left + width]
                decoded = _run(decoder, part)
                check_factor(decoder.name, part.shape[2:], decoded.shape[2:], factor)
                decoded *= row_weights[:, None] * column_weights
                y, x = top * factor, left * factor
                image[:, :, y : y + len(row_weights), x : x + len(column_weights)] += decoded
        images.append(to_pixels(image))
    return np.concatenate(images)


def check_factor(component: str, latents: Sequence[int], pixels: Sequence[int], factor: int) -> None:
    """Refuse a VAE whose graph has another factor than its configuration says.

    Args:
        component: the decoder or the encoder, for the error.
        latents, pixels: height and width of one and the same image.
        factor: pixels to a latent, along a side, by the configuration.

    Raises:
        PackageError: states both sizes.
    """
    expected = [side * factor for side in latents]
    if list(pixels) != expected:
        raise PackageError(
            f"{component} has {list(pixels)} pixels for {list(latents)} latents, and by block_out_channels in its "
            f"config.json {expected}: they are not of the same model"
        )


def spans(side: int, tile: int, overlap: int, factor: int) -> list[tuple[int, np.ndarray]]:
    """The tiles along a side of `side` latents: the start of each, and the weights of its pixels, float32.

    They are spread evenly from edge to edge and share `overlap` latents or more. Where neighbours overlap, their
    weights are linear ramps; at every pixel the weights sum to 1.
    """
    if side <= tile:
        return [(0, np.ones(side * factor, np.float32))]
    count = -(-(side - overlap) // (tile - overlap))
    starts = [round(k * (side - tile) / (count - 1)) for k in range(count)]
    shared = [before + tile - after for before, after in pairwise(starts)]
    pixels = np.arange(tile * factor) + 0.5
    weights, total = [], np.zeros(side * factor)
    for start, before, after in zip(starts, [0, *shared], [*shared, 0], strict=True):
        rise = pixels / (before * factor) if before else np.ones_like(pixels)
        fall = pixels[::-1] / (after * factor) if after else np.ones_like(pixels)
        weights.append(np.minimum(1, np.minimum(rise, fall)))
        total[start * factor : (start + tile) * factor] += weights[-1]
    return [
        (start, (weight / total[start * factor : (start + tile) * factor]).astype(np.float32))
        for start, weight in zip(starts, weights, strict=True)
    ]


def _run(decoder: AnyGraph, latents: np.ndarray) -> np.ndarray:
    decoded = decoder({"latent_sample": latents})["sample"].astype(np.float32, copy=False)
    check_finite(decoded, decoder.name)
    return decoded
