"""Uploaded images: checked before decoding, and converted for the pipeline."""

from typing import BinaryIO

import python_multipart  # noqa: F401  FastAPI needs it for forms; imported here to fail early
from PIL import Image, ImageOps

from ..errors import ServiceError, invalid

FORMATS = ("PNG", "JPEG", "WEBP")


def read_image(name: str, file: BinaryIO, max_pixels: int) -> Image.Image:
    """Decode an image file as RGBA, with its EXIF orientation applied.

    Args:
        name: name of the form field.
        file: the uploaded file.
        max_pixels: limit; a file of a few bytes can decode to gigabytes.

    Raises:
        ServiceError: the file is not an image of an allowed format, or it has too many pixels.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise invalid(f"{name} is {image.width}x{image.height}; allowed: {max_pixels} pixels", name)
            return ImageOps.exif_transpose(image).convert("RGBA")
    except ServiceError:
        raise
    except Exception:  # decoders raise errors of any type for malformed files
        raise invalid(f"{name} cannot be read as an image; allowed: {', '.join(FORMATS)}", name) from None


def mask_of(image: Image.Image) -> Image.Image:
    """Convert a mask of OpenAI's API, transparent where to repaint, into the pipeline's, white there.

    Raises:
        ServiceError: the mask is opaque.
    """
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        raise invalid("mask is opaque; allowed: a PNG that is transparent where to repaint", "mask")
    return ImageOps.invert(alpha)
