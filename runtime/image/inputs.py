"""Images and masks of the caller, converted for the VAE encoder and the loop."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from .files import read_image
from .modes import from_array, to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_LATENTS_AXES = 4


def images_of(name: str, images: Any, prompts: int, repeats: int) -> "list[PILImage]":
    """An RGB image for each image of a call, those of one prompt next to each other.

    Args:
        name: of the argument.
        images: see `request.Images`; a text or `os.PathLike` is the name of a file.
        prompts: number of prompts.
        repeats: images for each prompt.

    Raises:
        ArgumentError: a value that is not an image or the name of a file with one, or neither one for all nor one
            for each.
    """
    if not isinstance(images, list | tuple):
        return [_image(name, images)] * (prompts * repeats)
    places = _places(name, len(images), prompts, repeats)
    read = [_image(name, each) for each in images]
    return [read[place] for place in places]


def latents_of(value: Any, prompts: int, repeats: int) -> np.ndarray | None:
    """Latents [prompts * repeats, C, h, w] where they take the place of images, else None.

    Raises:
        ArgumentError: neither one for all nor one for each.
    """
    if not isinstance(value, np.ndarray) or value.ndim != _LATENTS_AXES or value.dtype.kind != "f":
        return None
    rows = np.repeat(value, prompts, axis=0) if len(value) == 1 else value
    return rows[_places("image", len(rows), prompts, repeats)]


def _places(name: str, count: int, prompts: int, repeats: int) -> list[int]:
    """For each image of a call, the index of the one among `count` that it starts from."""
    if count == prompts:
        return [place for place in range(count) for _ in range(repeats)]
    if count == prompts * repeats:
        return list(range(count))
    raise ArgumentError(f"{name} has {count} images for {prompts} prompts; allowed: one for all, or one for each")


def size_for(size: tuple[int, int], factor: int) -> tuple[int, int]:
    """Height and width in pixels for an image of that width and height: rounded down to whole latents.

    Raises:
        ArgumentError: it is smaller than one latent.
    """
    width, height = (side - side % factor for side in size)
    if min(height, width) == 0:
        raise ArgumentError(f"image is {size[0]}x{size[1]} pixels; allowed: {factor}x{factor} or more")
    return height, width


def pixels_of(images: "Sequence[PILImage]", height: int, width: int) -> np.ndarray:
    """float32 [n, 3, height, width] in -1..1, scaled to that size as diffusers' VaeImageProcessor does (Lanczos)."""
    from PIL.Image import Resampling

    scaled = [image.resize((width, height), Resampling.LANCZOS).convert("RGB") for image in images]
    return np.stack([np.asarray(image, np.float32) / 255 for image in scaled]).transpose(0, 3, 1, 2) * 2 - 1


def masks_of(images: "Sequence[PILImage]", height: int, width: int) -> np.ndarray:
    """float32 [n, 1, height, width]: 1 where the mask is lighter than half, else 0."""
    from PIL.Image import Resampling

    scaled = [image.resize((width, height), Resampling.LANCZOS).convert("L") for image in images]
    return np.stack([np.asarray(image, np.float32) / 255 >= 0.5 for image in scaled])[:, None].astype(np.float32)


def _image(name: str, value: Any) -> "PILImage":
    from PIL import Image

    if isinstance(value, str | os.PathLike):
        return read_image(value)
    if isinstance(value, np.ndarray):
        value = from_array(value, name)
    if not isinstance(value, Image.Image):
        raise ArgumentError(
            f"{name} must be the name of a file, a Pillow image or an array, not {type(value).__name__}"
        )
    return to_rgb(value, name)
