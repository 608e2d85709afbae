"""The image that a run starts from: image-to-image, inpainting, editing, or latents of another run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ArgumentError, shown
from ..families.conditioning import EXTRA_CHANNELS
from ..package.model import Model
from ..request import Request, check_latents
from .encoding import shrunk
from .inputs import images_of, latents_of, masks_of, pixels_of, size_for

if TYPE_CHECKING:
    from PIL.Image import Image

Draws = Sequence[Callable[[tuple[int, ...]], np.ndarray]]
"""For each image, shape -> unit Gaussian."""

Encode = Callable[[np.ndarray, Draws], np.ndarray]
"""Pixels float32 [n, 3, H, W] in -1..1 -> latents float32 [n, C, h, w]."""


@dataclass(frozen=True, eq=False)
class InitImage:
    """An image, and perhaps a mask, for each image of a call.

    Attributes:
        images: Pillow images, or latents float32 [n, C, h, w].
        masks: Pillow images, white where the image is redrawn; None without a mask.
        strength: share of the steps that are run.
        resumes: the latents are those of another run that stopped early.
        model: the model that takes them.
    """

    images: "Sequence[Image] | np.ndarray"
    masks: "Sequence[Image] | None"
    strength: float
    resumes: bool
    model: Model

    @classmethod
    def read(cls, request: Request, model: Model) -> "InitImage | None":
        """Read and check the image arguments of a request; None without an image, if the model does not need one.

        Raises:
            ArgumentError: values that are not images, an argument that needs an image, or a model that does.
        """
        _check_arguments(request, model)
        if request.image is None:
            return None
        prompts, repeats = request.prompts, request.num_images_per_prompt
        latents = latents_of(request.image, prompts, repeats)
        if (model.inpaints or model.edits) and latents is not None:
            raise ArgumentError("this package's model needs the pixels of an image; give image as one, not as latents")
        images = images_of("image", request.image, prompts, repeats) if latents is None else latents
        masks = None if request.mask_image is None else images_of("mask_image", request.mask_image, prompts, repeats)
        resumes, family = request.denoising_start is not None, model.family
        strength = request.strength
        if strength is None:
            default = family.strength if masks is None else family.mask_strength
            strength = 1.0 if model.edits or resumes else default
        init = cls(images, masks, strength, resumes, model)
        for (width, height), mask in zip(init.sizes, masks or (), strict=False):
            if mask.size != (width, height):
                raise ArgumentError(
                    f"mask_image is {mask.width}x{mask.height} pixels; allowed: the size of image, {width}x{height}"
                )
        return init

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height of each image in pixels."""
        if isinstance(self.images, np.ndarray):
            factor = self.model.latents.factor
            return [(self.images.shape[3] * factor, self.images.shape[2] * factor)] * len(self.images)
        return [image.size for image in self.images]

    @property
    def blends(self) -> bool:
        """Whether the loop must restore the region that the mask keeps: the denoiser itself takes no mask."""
        return self.masks is not None and not self.model.inpaints

    @property
    def resumes_unmasked(self) -> bool:
        """Whether the latents are taken as they are: no noise is added, and none is drawn."""
        return self.resumes and not self.blends

    def size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Height and width of the result in pixels; None is that of the first image, rounded to whole latents."""
        own_height, own_width = size_for(self.sizes[0], self.model.latents.multiple)
        return own_height if height is None else height, own_width if width is None else width

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise an error for latents of another shape than [n, C, h, w], or latents that are not finite.

        Raises:
            ArgumentError: names the latents.
        """
        if isinstance(self.images, np.ndarray):
            check_latents(self.images, shape, "the latents in image")

    def latents(self, encode: Encode, draws: Draws, shape: tuple[int, ...]) -> np.ndarray | None:
        """The images as latents of that shape; None where the run needs none.

        If the encoder gives a distribution, its noise is drawn: as in diffusers, before the noise of the loop.
        """
        if isinstance(self.images, np.ndarray):
            return np.asarray(self.images, np.float32)  # of that shape, see `check_shape`
        if self.model.edits or (self.model.inpaints and self.strength == 1 and not self.resumes):
            return None
        return encode(pixels_of(self.images, *self._pixels(shape)), draws)

    def mask(self, shape: tuple[int, ...]) -> np.ndarray | None:
        """The mask for blending, float32 [n, 1, h, w], 1 where the image is redrawn; None where nothing is blended."""
        if self.masks is None or not self.blends:
            return None
        return shrunk(masks_of(self.masks, *self._pixels(shape)), self.model.latents.factor)

    def extra_channels(self, encode: Encode, draws: Draws, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Channels that an inpainting or editing denoiser takes after those of the latents; {} for others.

        As in diffusers, their noise is drawn after that of the loop.
        """
        if isinstance(self.images, np.ndarray):
            return {}
        pixels = self._pixels(shape)
        if self.model.edits:  # the mode of the distribution, not scaled
            mode = encode(pixels_of(self.images, *pixels), [_zeros] * len(draws))
            return {EXTRA_CHANNELS: self.model.latents.to_vae(mode)}
        if not self.model.inpaints or self.masks is None:
            return {}
        masks = masks_of(self.masks, *pixels)
        masked = encode(pixels_of(self.images, *pixels) * (masks < 0.5), draws)
        return {EXTRA_CHANNELS: np.concatenate([shrunk(masks, self.model.latents.factor), masked], axis=1)}

    def _pixels(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width in pixels of latents [n, C, h, w]."""
        return shape[2] * self.model.latents.factor, shape[3] * self.model.latents.factor


def _check_arguments(request: Request, model: Model) -> None:
    """Raise an error for image arguments that the model needs but lacks, or does not support."""
    if model.inpaints and (request.image is None or request.mask_image is None):
        raise ArgumentError("this package holds an inpainting model; give image and mask_image")
    starts = {name: getattr(request, name) for name in ("mask_image", "strength", "denoising_start")}
    present = [name for name, value in starts.items() if value is not None]
    if model.edits and (request.image is None or present):
        raise ArgumentError(
            "this package edits images by instruction; give image, and no mask_image, strength or denoising_start"
        )
    if not model.edits and request.image_guidance_scale is not None:
        raise ArgumentError(
            f"image_guidance_scale={shown(request.image_guidance_scale)}: this model does not edit images; leave it out"
        )
    if request.image is not None:
        return
    if present:
        raise ArgumentError(f"{present[0]} needs an image to start from; give image as well")
    if model.family.is_refiner:
        raise ArgumentError(
            "this package is a refiner, which starts from an image; give image: an image, or latents of the base model"
        )


def _zeros(shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, np.float32)
