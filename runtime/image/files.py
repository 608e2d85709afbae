"""Image files, decoded by one function wherever they come from: command line, batches, Python, uploads."""

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..reading import read_file
from .modes import to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from PIL.ImageFile import ImageFile

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "PPM", "AVIF")
"""Formats that are read, as Pillow names them. Their decoders start no program, as that of EPS does, and print nothing,
as that of TIFF does."""

MAX_PIXELS = 1 << 26
"""Pixels of an image at most; a file of a few bytes can decode to gigabytes."""

MAX_BYTES = 1 << 28
"""Bytes of a file at most: an image of that many pixels, 4 bytes each."""

_PREFIX = 16  # bytes by which Pillow's plug-ins recognise a format


def read_image(path: str | os.PathLike[str]) -> "PILImage":
    """Read an image file as RGB, see `modes.to_rgb`; of an animation, the first frame.

    Raises:
        ArgumentError: no such file, not an image of an allowed format, damaged, or too large.
    """
    return to_rgb(decode_image(read_file(Path(path), MAX_BYTES), str(path)), str(path))


def decode_image(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> "PILImage":
    """Decode an image file, in its own mode and with its metadata; of an animation, the first frame.

    Args:
        content: of the file.
        name: of the file, for the error.
        max_pixels: checked before pixels are decoded, whatever `PIL.Image.MAX_IMAGE_PIXELS` is.

    Raises:
        ArgumentError: not an image of an allowed format, damaged, or too many pixels.
    """
    try:
        image = _opened(content)
        if image is not None and image.width * image.height <= max_pixels:
            image.load()
    except Exception as error:  # decoders raise errors of any class for damaged files
        raise _unreadable(name, " ".join(str(error).split()) or type(error).__name__) from None
    if image is None:
        raise _unreadable(name, "it has another format")
    if image.width * image.height > max_pixels:
        raise ArgumentError(f"{name} is {image.width}x{image.height} pixels; allowed: {max_pixels} pixels")
    return image


def _opened(content: bytes) -> "ImageFile | None":
    """The image with its header read, None for other formats.

    `PIL.Image.open` is not called: it compares the size with a limit of the process, which is the caller's.
    """
    from PIL import Image

    Image.init()
    for name in FORMATS:
        plugin = Image.OPEN.get(name)  # a format may be left out of a build of Pillow
        if plugin is None:
            continue
        factory, accepts = plugin
        if accepts is None or accepts(content[:_PREFIX]) is True:  # a text is the reason why it cannot be decoded
            return factory(BytesIO(content), "")
    return None


def _unreadable(name: str, reason: str) -> ArgumentError:
    return ArgumentError(f"{name} cannot be read as an image: {reason}; allowed: {', '.join(FORMATS)}")
