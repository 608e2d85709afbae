"""What a call begins from when it is given a picture: image-to-image and inpainting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import check_latents
from ..errors import ArgumentError
from ..families.conditioning import BEHIND
from ..families.family import Family
from .encoding import shrunk
from .inputs import latents_of, masks_of, pictures_of, pixels_of, size_for

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Draws = Sequence[Callable[[tuple[int, ...]], np.ndarray]]
"""For each picture, shape -> unit Gaussian."""

Encode = Callable[[np.ndarray, Draws], np.ndarray]
"""Pixels float32 [n, 3, H, W] in -1..1 -> latents."""


@dataclass(frozen=True)
class StartingPicture:
    """A picture, and perhaps a mask, for each that is to be made.

    `images` may be latents, float32 [n, C, h, w]. `strength` is the share of the steps that is run on it, `goes_on`
    says that it has noise already; `masked` that the generator takes mask and picture as channels behind the latents,
    `edited` that it takes the picture alone.
    """

    images: "Sequence[Picture] | np.ndarray"
    masks: "Sequence[Picture] | None"
    strength: float
    goes_on: bool
    masked: bool
    edited: bool

    @classmethod
    def read(
        cls,
        image: Any,
        mask_image: Any,
        strength: float | None,
        denoising_start: float | None,
        family: Family,
        prompts: int,
        repeats: int,
        *,
        factor: int,
        masked: bool,
    ) -> "StartingPicture | None":
        """From the arguments of a call; None where it is given no picture.

        Args:
            image, mask_image, strength, denoising_start: as given.
            family: what a model makes pictures of, and strength where it is not given.
            prompts: how many there are.
            repeats: pictures for each prompt.
            factor: pixels to a latent value.
            masked: the generator takes mask and picture as channels behind the latents.

        Raises:
            ArgumentError: no pictures, a mask or strength without one, or a generator that needs what is not given.
        """
        if masked and (image is None or mask_image is None):
            raise ArgumentError("this package is of an inpainting model; give image and mask_image")
        edited = family.image_guidance_scale is not None
        if edited and (image is None or any(each is not None for each in (mask_image, strength, denoising_start))):
            raise ArgumentError(
                "this package edits pictures by instruction; give image, and no mask_image or strength, "
                "nor denoising_start"
            )
        if image is None:
            for name, value in (
                ("mask_image", mask_image),
                ("strength", strength),
                ("denoising_start", denoising_start),
            ):
                if value is not None:
                    raise ArgumentError(f"{name} is for a picture to begin from; give image, too")
            if family.refines:
                raise ArgumentError(
                    "this package is a refiner, which makes no picture of its own; give image: a picture, or latents "
                    "of the base model"
                )
            return None
        latents = latents_of(image, prompts, repeats)
        if (masked or edited) and latents is not None:
            raise ArgumentError("this package's model needs the pixels of a picture; give image as one, not as latents")
        images = pictures_of("image", image, prompts, repeats) if latents is None else latents
        masks = None if mask_image is None else pictures_of("mask_image", mask_image, prompts, repeats)
        sizes = _sizes(images, factor)
        for (width, height), mask in zip(sizes, masks or (), strict=False):
            if mask.size != (width, height):
                raise ArgumentError(
                    f"mask_image is {mask.width}x{mask.height} pixels; allowed: the size of image, {width}x{height}"
                )
        if strength is None:
            whole = edited or denoising_start is not None
            strength = 1.0 if whole else family.strength if masks is None else family.mask_strength
        return cls(images, masks, strength, denoising_start is not None, masked, edited)

    def size(self, height: int | None, width: int | None, factor: int) -> tuple[int, int]:
        """Height and width in pixels of what is to be made; None is the first picture's own."""
        own_height, own_width = size_for(_sizes(self.images, factor)[0], factor)
        return own_height if height is None else height, own_width if width is None else width

    @property
    def kept(self) -> bool:
        """Whether the loop must put back what the mask leaves out."""
        return self.masks is not None and not self.masked

    def latents(self, encode: Encode, draws: Draws, shape: tuple[int, ...], factor: int) -> np.ndarray | None:
        """The pictures as latents of that shape; None where nothing of them is needed.

        They are drawn where the encoder gives a distribution: as in diffusers, before the noise, and what `behind`
        draws after that.

        Raises:
            ArgumentError: they are given as latents, of another shape.
        """
        if isinstance(self.images, np.ndarray):
            return check_latents(self.images, shape, "the latents in image")
        if self.edited or (self.masked and self.strength == 1 and not self.goes_on):
            return None
        return encode(pixels_of(self.images, shape[2] * factor, shape[3] * factor), draws)

    def mask(self, height: int, width: int, factor: int) -> np.ndarray | None:
        """float32 [n, 1, h, w] at the size of the latents; None where there is none."""
        return None if self.masks is None else shrunk(masks_of(self.masks, height, width), factor)

    def behind(
        self, encode: Encode, draws: Draws, height: int, width: int, factor: int, scaling_factor: float
    ) -> dict[str, np.ndarray]:
        """What an inpainting model's generator is given besides, or one's that edits: nothing for another."""
        if isinstance(self.images, np.ndarray):
            return {}
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


def _sizes(images: "Sequence[Picture] | np.ndarray", factor: int) -> list[tuple[int, int]]:
    """Width and height in pixels of each."""
    if isinstance(images, np.ndarray):
        return [(images.shape[3] * factor, images.shape[2] * factor)] * len(images)
    return [image.size for image in images]
