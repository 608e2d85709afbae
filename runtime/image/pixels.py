"""Pixels, contact sheets, and the settings inside a PNG or a JPEG."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ArgumentError
from ..reading import read_file
from .exif import json_in_exif
from .files import MAX_BYTES, decode_image
from .settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage  # Pillow is slow to import, and not needed before there are pixels

SETTINGS_KEY = "triptych"
PARAMETERS_KEY = "parameters"

_MARGIN = 8  # pixels between the cells of a contact sheet
_LABEL_PIXELS = 15  # height of the letters
_WIDEST_LABEL = 160  # pixels that a label may widen its column to


def to_pixels(decoded: np.ndarray) -> np.ndarray:
    """The decoder's output, float [n, 3, H, W] in -1..1, as uint8 [n, H, W, 3], rounded as diffusers rounds."""
    unit = np.clip(decoded / np.float32(2) + np.float32(0.5), 0, 1)
    return (unit.transpose(0, 2, 3, 1) * np.float32(255)).round().astype(np.uint8)


def to_image(pixels: np.ndarray, settings: Settings | None = None) -> "PILImage":
    """An image of pixels uint8 [H, W, 3]; saved as PNG, it carries its settings."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    image = Image.fromarray(pixels)
    if settings is not None:
        info = PngInfo()
        info.add_itxt(SETTINGS_KEY, settings.to_json())
        info.add_itxt(PARAMETERS_KEY, settings.to_parameters())
        image.info.update({SETTINGS_KEY: settings.to_json(), PARAMETERS_KEY: settings.to_parameters()})
        image.encoderinfo = {"pnginfo": info}  # Pillow's attribute for an image's save parameters
    return image


def read_settings(path: str | Path) -> Settings:
    """Read the settings from a PNG or a JPEG that Triptych wrote, and that another tool may have saved again.

    Raises:
        ArgumentError: no such file, not an image, or an image without settings or with settings that cannot be used.
    """
    image = decode_image(read_file(Path(path), MAX_BYTES), str(path))
    text = image.info.get(SETTINGS_KEY) if image.format == "PNG" else None
    if image.format == "JPEG":
        text = json_in_exif(image)
    if not isinstance(text, str):
        raise ArgumentError(f"{path} has no settings of Triptych; only images that Triptych wrote have them")
    try:
        return Settings.from_json(text)
    except ArgumentError as error:
        raise ArgumentError(f"{path}: {error}") from None


def contact_sheet(
    images: Sequence["PILImage"],
    columns: int,
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> "PILImage":
    """The images row by row, each row under its label and each column under its own, on white.

    Columns are as wide as their labels, where those are longer than the images are wide, within `_WIDEST_LABEL`.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_LABEL_PIXELS)
    label_height = _LABEL_PIXELS + _MARGIN
    width, height = (max(getattr(image, side) for image in images) for side in ("width", "height"))
    label_width = max((math.ceil(font.getlength(label)) for label in column_labels), default=0)
    width = max(width, min(label_width, _WIDEST_LABEL))
    rows = -(-len(images) // columns)
    top = label_height + _MARGIN if column_labels else _MARGIN
    row_height = height + _MARGIN + (label_height if row_labels else 0)
    sheet = Image.new("RGB", (_MARGIN + columns * (width + _MARGIN), top + rows * row_height), "white")
    draw = ImageDraw.Draw(sheet)

    def write(x: int, y: int, text: str, room: int) -> None:
        while text and draw.textlength(text, font=font) > room:
            text = text[:-2] + "…"
        draw.text((x, y), text, fill="black", font=font)

    for column, label in enumerate(column_labels):
        write(_MARGIN + column * (width + _MARGIN), _MARGIN, label, width)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        x, y = _MARGIN + column * (width + _MARGIN), top + row * row_height
        if row_labels:
            if column == 0:
                write(x, y, row_labels[row], sheet.width - 2 * _MARGIN)
            y += label_height
        sheet.paste(image, (x, y))
    return sheet
