"""What a call begins from when it is given a picture: image-to-image and inpainting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .conditioning import BEHIND
from .errors import ArgumentError
from .families import Family
from .image_input import masks_of, pictures_of, pixels_of, size_for
from .image_latents import shrunk

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Draws = Sequence[Callable[[tuple[int, ...]], np.ndarray]]
"""For each picture, shape -> unit Gaussian."""

Encode = Callable[[np.ndarray, Draws], np.ndarray]
"""Pixels float32 [n, 3, H, W] in -1..1 -> latents."""


@dataclass(frozen=True)
class StartingPicture:
    """A picture, and perhaps a mask, for each that is to be made.

    `strength` is the share of the steps that is run on it; `masked` says that the generator takes mask and picture as
    channels behind the latents, `edited` that it takes the picture alone.
    """

    images: "Sequence[Picture]"
    masks: "Sequence[Picture] | None"
    strength: float
    masked: bool
    edited: bool

    @classmethod
    def read(
        cls,
        image: Any,
        mask_image: Any,
        strength: float | None,
        family: Family,
        prompts: int,
        repeats: int,
        *,
        masked: bool,
    ) -> "StartingPicture | None":
        """From the arguments of a call; None where it is given no picture.

        Raises:
            ArgumentError: no pictures, a mask or strength without one, or a generator that needs what is not given.
        """
        if masked and (image is None or mask_image is None):
            raise ArgumentError("this package is of an inpainting model; give image and mask_image")
        edited = family.image_guidance_scale is not None
        if edited and (image is None or mask_image is not None or strength is not None):
            raise ArgumentError("this package edits pictures by instruction; give image, and no mask_image or strength")
        if image is None:
            for name, value in (("mask_image", mask_image), ("strength", strength)):
                if value is not None:
                    raise ArgumentError(f"{name} is for a picture to begin from; give image, too")
            return None
        images = pictures_of("image", image, prompts, repeats)
        masks = None if mask_image is None else pictures_of("mask_image", mask_image, prompts, repeats)
        for picture, mask in zip(images, masks or (), strict=False):
            if mask.size != picture.size:
                raise ArgumentError(
                    f"mask_image is {mask.width}x{mask.height} pixels; allowed: the size of image, "
                    f"{picture.width}x{picture.height}"
                )
        default = 1.0 if edited else family.strength if masks is None else family.mask_strength
        return cls(images, masks, default if strength is None else strength, masked, edited)

    def size(self, height: int | None, width: int | None, factor: int) -> tuple[int, int]:
        """Height and width in pixels of what is to be made; None is the first picture's own."""
        own_height, own_width = size_for(self.images[0], factor)
        return own_height if height is None else height, own_width if width is None else width

    @property
    def kept(self) -> bool:
        """Whether the loop must put back what the mask leaves out."""
        return self.masks is not None and not self.masked

    def latents(self, encode: Encode, draws: Draws, height: int, width: int) -> np.ndarray | None:
        """The pictures as latents, drawn where the encoder gives a distribution; None where nothing of them is needed.

        As in diffusers, it is drawn before the noise, and what `behind` draws after that.
        """
        if self.edited or (self.masked and self.strength == 1):
            return None
        return encode(pixels_of(self.images, height, width), draws)

    def mask(self, height: int, width: int, factor: int) -> np.ndarray | None:
        """float32 [n, 1, h, w] at the size of the latents; None where there is none."""
        return None if self.masks is None else shrunk(masks_of(self.masks, height, width), factor)

    def behind(
        self, encode: Encode, draws: Draws, height: int, width: int, factor: int, scaling_factor: float
    ) -> dict[str, np.ndarray]:
        """What an inpainting model's generator is given besides, or one's that edits: nothing for another."""
        if self.edited:  # the likeliest latents, as the encoder gives them
            likeliest = encode(pixels_of(self.images, height, width), [_zeros] * len(draws))
            return {BEHIND: likeliest / np.float32(scaling_factor)}
        if not self.masked or self.masks is None:
            return {}
        masks = masks_of(self.masks, height, width)
        uncovered = encode(pixels_of(self.images, height, width) * (masks < 0.5), draws)
        return {BEHIND: np.concatenate([shrunk(masks, factor), uncovered], axis=1)}


def _zeros(shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, np.float32)
