"""Images and masks of the caller, as the VAE encoder and the loop take them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_LATENTS_AXES = 4

_WITHOUT_LOSS = ("RGB", "L", "P", "1")
"""Modes that are RGB in other words; the others have transparency, more bits or other colours."""


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


def images_of(name: str, given: Any, prompts: int, repeats: int) -> "list[PILImage]":
    """A Pillow image for each image of a call, those of one prompt next to each other.

    Args:
        name: of the argument.
        given: see `request.Images`.
        prompts: how many there are.
        repeats: images for each prompt.

    Raises:
        ArgumentError: a value that is not an image, or neither one for all nor one for each.
    """
    listed = list(given) if isinstance(given, list | tuple) else [given] * prompts
    places = _places(name, len(listed), prompts, repeats)
    read = [_image(name, each) for each in listed]
    return [read[place] for place in places]


def latents_of(given: Any, prompts: int, repeats: int) -> np.ndarray | None:
    """Latents [prompts * repeats, C, h, w] where they are given in place of images, else None.

    Raises:
        ArgumentError: neither one for all nor one for each.
    """
    if not isinstance(given, np.ndarray) or given.ndim != _LATENTS_AXES or given.dtype.kind != "f":
        return None
    rows = np.repeat(given, prompts, axis=0) if len(given) == 1 else given
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


def _image(name: str, given: Any) -> "PILImage":
    from PIL import Image

    if isinstance(given, np.ndarray):
        if given.dtype != np.uint8 or not (given.ndim == 2 or (given.ndim == 3 and given.shape[2] == 3)):
            raise ArgumentError(
                f"{name} is an array {given.dtype} {list(given.shape)}; allowed: uint8 [height, width, 3], a Pillow "
                "image"
            )
        given = Image.fromarray(given)
    if not isinstance(given, Image.Image):
        raise ArgumentError(f"{name} must be a Pillow image or an array, not {type(given).__name__}")
    if given.mode not in _WITHOUT_LOSS or "transparency" in given.info:
        raise ArgumentError(
            f"{name} has mode {given.mode}{' with transparency' if 'transparency' in given.info else ''}; allowed: "
            f"{', '.join(_WITHOUT_LOSS)}, without transparency: convert it to RGB first"
        )
    return given
