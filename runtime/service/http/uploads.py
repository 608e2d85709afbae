"""Uploaded images: checked before decoding, and converted for the pipeline."""

from typing import BinaryIO

import python_multipart  # noqa: F401  FastAPI needs it for forms; imported here to fail early
from PIL import ImageOps
from PIL.Image import Image

from ...errors import ArgumentError
from ...image.files import decode_image
from ...image.modes import to_alpha, to_rgb
from ..errors import invalid


def read_image(file: BinaryIO, max_pixels: int) -> Image:
    """The field `image` in RGB, see `image.modes.to_rgb`.

    Args:
        file: the uploaded file.
        max_pixels: limit.

    Raises:
        ServiceError: the file is not an image of an allowed format, or it has too many pixels.
    """
    try:
        return to_rgb(decode_image(file.read(), "image", max_pixels), "image")
    except ArgumentError as error:
        raise invalid(str(error), "image") from None


def read_mask(file: BinaryIO, max_pixels: int) -> Image:
    """The field `mask` as the pipeline's mask, mode L: white where OpenAI's is transparent, and to be repainted.

    Args:
        file, max_pixels: see `read_image`.

    Raises:
        ServiceError: see `read_image`; or the mask is opaque.
    """
    try:
        alpha = to_alpha(decode_image(file.read(), "mask", max_pixels), "mask")
    except ArgumentError as error:
        raise invalid(str(error), "mask") from None
    if alpha is None or alpha.getextrema() == (255, 255):
        raise invalid("mask is opaque; allowed: an image that is transparent where to repaint", "mask")
    return ImageOps.invert(alpha)
