"""Pictures that are sent: looked at before they are unpacked, and as the pipeline takes them."""

from typing import BinaryIO

import python_multipart  # noqa: F401  FastAPI needs it for forms, and says so late
from PIL import Image, ImageOps

from ..errors import ServiceError, invalid

FORMATS = ("PNG", "JPEG", "WEBP")


def read(name: str, file: BinaryIO, most_pixels: int) -> Image.Image:
    """The picture in a file, upright, with its transparency.

    Args:
        name: of the form's field.
        file: what was sent.
        most_pixels: that it may have; a few bytes of a file can unpack to gigabytes.

    Raises:
        ServiceError: it is no picture of those formats, or too large.
    """
    try:
        with Image.open(file, formats=FORMATS) as opened:
            if opened.width * opened.height > most_pixels:
                raise invalid(f"{name} is {opened.width}x{opened.height}; allowed: {most_pixels} pixels", name)
            return ImageOps.exif_transpose(opened).convert("RGBA")
    except ServiceError:
        raise
    except Exception:  # decoders of formats raise anything of what is not well formed
        raise invalid(f"{name} cannot be read as a picture; allowed: {', '.join(FORMATS)}", name) from None


def mask_of(picture: Image.Image) -> Image.Image:
    """A mask of the pipeline, light where it is to be drawn anew, from one of OpenAI's API, transparent there.

    Raises:
        ServiceError: nothing of it is transparent.
    """
    alpha = picture.getchannel("A")
    if alpha.getextrema() == (255, 255):
        raise invalid("mask has nothing transparent; allowed: a PNG that is transparent where to draw anew", "mask")
    return ImageOps.invert(alpha)
