"""Images and masks of the caller, converted for the VAE encoder and the loop."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_LATENTS_AXES = 4

_LOSSLESS_MODES = ("RGB", "L", "P", "1")
"""Modes that convert to RGB without loss; others have transparency, more bits or other colour spaces."""


def read_image(path: Path) -> "PILImage":
    """Read an image file.

    Raises:
        ArgumentError: no such file, or not an image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise ArgumentError(f"{path} does not exist") from None
    except (UnidentifiedImageError, OSError) as error:
        raise ArgumentError(f"{path} cannot be read as an image: {error}") from None


def images_of(name: str, images: Any, prompts: int, repeats: int) -> "list[PILImage]":
    """A Pillow image for each image of a call, those of one prompt next to each other.

    Args:
        name: of the argument.
        images: see `request.Images`.
        prompts: number of prompts.
        repeats: images for each prompt.

    Raises:
        ArgumentError: a value that is not an image, or neither one for all nor one for each.
    """
    listed = list(images) if isinstance(images, list | tuple) else [images] * prompts
    places = _places(name, len(listed), prompts, repeats)
    read = [_image(name, each) for each in listed]
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
    raise ArgumentError(f"{name} has {count} images for {prompts} prompts; allowed: one for all, or one each")


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

    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8 or not (value.ndim == 2 or (value.ndim == 3 and value.shape[2] == 3)):
            raise ArgumentError(
                f"{name} is an array {value.dtype} {list(value.shape)}; allowed: uint8 [height, width, 3], a Pillow "
                "image"
            )
        value = Image.fromarray(value)
    if not isinstance(value, Image.Image):
        raise ArgumentError(f"{name} must be a Pillow image or an array, not {type(value).__name__}")
    if value.mode not in _LOSSLESS_MODES or "transparency" in value.info:
        raise ArgumentError(
            f"{name} has mode {value.mode}{' with transparency' if 'transparency' in value.info else ''}; allowed: "
            f"{', '.join(_LOSSLESS_MODES)}, without transparency: convert it to RGB first"
        )
    return value
