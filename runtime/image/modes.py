"""Images of any mode, and arrays, as RGB."""

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ArgumentError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_UNSIGNED_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Modes of 16 bits; Pillow has some formats' 16 bits in the 32 of mode I."""

_STRAIGHT = {"La": "LA", "RGBa": "RGBA"}
"""Mode of premultiplied alpha -> that of the same channels without."""

_CHANNELS = (1, 3, 4)


def to_rgb(image: "PILImage", name: str) -> "PILImage":
    """A copy in RGB, without metadata, turned upright by its EXIF orientation.

    Alpha is ignored, as in diffusers' `load_image`: a transparent pixel has the colour that is stored for it. 16 bits
    are scaled to 8.

    Args:
        image: of any mode but F; decoded if it was not yet.
        name: for the error.

    Raises:
        ArgumentError: the pixels cannot be decoded, are floating point, or exceed 16 bits.
    """
    try:
        upright = _upright(image)
        upright.info.pop("transparency", None)
        if upright.mode in _UNSIGNED_16:
            upright = _eight_bits(upright, name)
        if upright.mode == "F":
            raise ArgumentError(f"{name} has pixels of floating point; allowed: whole numbers of 1 to 16 bits")
        rgb = upright.convert("RGB")
    except ArgumentError:
        raise
    except Exception as error:  # decoders raise errors of any class for damaged files
        raise _unusable(name, image, error) from None
    rgb.info.clear()  # else the orientation could be applied twice
    return rgb


def to_alpha(image: "PILImage", name: str) -> "PILImage | None":
    """The alpha channel, mode L, turned upright by its EXIF orientation; None for an image without one.

    Args:
        image: of any mode; decoded if it was not yet.
        name: for the error.

    Raises:
        ArgumentError: the pixels cannot be decoded.
    """
    try:
        upright = _upright(image)
        return upright.convert("RGBA").getchannel("A") if upright.has_transparency_data else None
    except Exception as error:
        raise _unusable(name, image, error) from None


def from_array(array: np.ndarray, name: str) -> "PILImage":
    """An array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] as image: uint8, or floats in 0..1, rounded to 8 bits.

    Raises:
        ArgumentError: another dtype or shape, or floats outside of 0..1.
    """
    from PIL import Image

    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
    if not shaped or not (array.dtype == np.uint8 or np.issubdtype(array.dtype, np.floating)):
        raise ArgumentError(
            f"{name} is an array {array.dtype} {list(array.shape)}; allowed: uint8, or floats from 0 to 1, "
            "[height, width] or [height, width, channels] with 1, 3 or 4 channels"
        )
    if array.size == 0:
        raise ArgumentError(f"{name} is an array {list(array.shape)}, which has no pixels")
    if array.dtype != np.uint8:
        low, high = array.min(), array.max()
        if not 0 <= low <= high <= 1:  # false for NaN, too
            raise ArgumentError(
                f"{name} is an array {array.dtype} with values from {low:g} to {high:g}; allowed: 0 to 1"
            )
        array = (array.astype(np.float32) * 255).round().astype(np.uint8)
    return Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _upright(image: "PILImage") -> "PILImage":
    """A copy, turned upright by its EXIF orientation; alpha is not premultiplied."""
    from PIL import ImageOps

    copy = image.copy()
    with suppress(Exception):  # the pixels can be used without EXIF data
        ImageOps.exif_transpose(copy, in_place=True)
    return copy.convert(_STRAIGHT[copy.mode]) if copy.mode in _STRAIGHT else copy


def _eight_bits(image: "PILImage", name: str) -> "PILImage":
    from PIL import Image

    values = np.asarray(image)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise ArgumentError(f"{name} has pixels from {low} to {high}; allowed: 0 to {np.iinfo(np.uint16).max}")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _unusable(name: str, image: "PILImage", error: Exception) -> ArgumentError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ArgumentError(f"{name} has pixels that cannot be used, of mode {image.mode}: {reason}")
