"""Images in the bodies of requests, in base64 or as data URLs."""

import base64
import binascii

from PIL import ImageFilter, ImageOps
from PIL.Image import Image, Resampling

from ...errors import ArgumentError
from ...image.exif import json_in_exif, parameters_in_exif
from ...image.files import decode_image
from ...image.modes import to_rgb
from ...image.pixels import PARAMETERS_KEY, SETTINGS_KEY
from ..errors import invalid


def decoded(text: str, name: str, max_pixels: int) -> Image:
    """The image of a field, in its own mode.

    Args:
        text: base64 or a data URL; nothing is fetched.
        name: of the field.
        max_pixels: limit.

    Raises:
        ServiceError: not base64, not an image of an allowed format, or too many pixels.
    """
    data = text.partition(",")[2] if text.startswith("data:") else text
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{name} is not base64; allowed: an image in base64, or a data URL", name) from None
    try:
        return decode_image(content, name, max_pixels)
    except ArgumentError as error:
        raise invalid(str(error), name) from None


def rgb(text: str, name: str, max_pixels: int) -> Image:
    """The image of a field in RGB; arguments and errors as for `decoded`."""
    try:
        return to_rgb(decoded(text, name, max_pixels), name)
    except ArgumentError as error:
        raise invalid(str(error), name) from None


def texts_of(image: Image) -> dict[str, str]:
    """The texts in a file's metadata by name; settings in EXIF data have the names that they have in a PNG."""
    texts = {str(name): value for name, value in image.info.items() if isinstance(value, str)}
    in_exif = {SETTINGS_KEY: json_in_exif(image), PARAMETERS_KEY: parameters_in_exif(image)}
    return {name: value for name, value in in_exif.items() if value is not None} | texts


def mask(text: str, size: tuple[int, int], max_pixels: int, *, invert: bool, blur: float) -> Image:
    """The field `mask`, mode L: white where the image is redrawn.

    Args:
        text, max_pixels: see `decoded`.
        size: width and height of the image.
        invert: redraw where the mask is black.
        blur: radius in pixels.

    Raises:
        ServiceError: see `decoded`.
    """
    grey = rgb(text, "mask", max_pixels).convert("L")
    if grey.size != size:
        grey = grey.resize(size, Resampling.LANCZOS)
    if invert:
        grey = ImageOps.invert(grey)
    return grey.filter(ImageFilter.GaussianBlur(blur)) if blur else grey
