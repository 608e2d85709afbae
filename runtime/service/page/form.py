"""The form of the page: conversion to a request, defaults from a package, values from the settings of an image."""

import math
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...errors import ArgumentError
from ...image.encoding import ENCODER
from ...image.pixels import read_settings
from ...image.settings import Settings
from ...pipeline import TextToImage
from ...sampling.listing import names_for
from ..errors import invalid
from ..http.schema import Generation
from ..limits import Limits

AUTO = "auto"
_SHAPES = ((1, 1), (3, 4), (4, 3), (9, 16), (16, 9))
"""Aspect ratios of the offered sizes, width to height; their areas are about that of the default size."""

_MULTIPLE = 8  # in latents: most U-Nets halve them three times
_COVERED = {field.name for field in fields(Settings) if field.default is MISSING} | {"strength"}
"""Settings that the form or the notices cover."""


@dataclass(frozen=True)
class Form:
    """Fields of the form, in the order of the page; the seed is text, since browsers round large numbers."""

    prompt: str
    negative_prompt: str
    steps: float
    guidance: float
    seed: str
    random_seed: bool
    scheduler: str
    size: str
    images: float

    def generation(self) -> Generation:
        """Body of an HTTP request.

        Raises:
            ServiceError: a field has an invalid value.
        """
        values = {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt or None,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "seed": None if self.random_seed or not self.seed.strip() else self.seed.strip(),
            "scheduler": self.scheduler or None,
            "size": self.size.strip() or AUTO,
            "n": self.images,
        }
        if not self.prompt.strip():
            raise invalid("the prompt is empty", "prompt")
        try:
            return Generation.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise invalid(f"{first['loc'][0]}: {first['msg']}") from None


@dataclass(frozen=True)
class Offer:
    """Defaults and choices of a package.

    Attributes:
        form: with the default of each field.
        schedulers: labels and values.
        sizes: WIDTHxHEIGHT, after "auto".
        image_to_image: whether the package has a VAE encoder.
        strength: default for image-to-image.
    """

    form: Form
    schedulers: list[tuple[str, str]]
    sizes: list[str]
    image_to_image: bool
    strength: float


def offer_of(pipe: TextToImage, limits: Limits) -> Offer:
    """Defaults of the family of a package, and choices within the limits."""
    family, config = pipe.family, pipe.package.scheduler_config()
    default = str(config["_class_name"])
    return Offer(
        form=Form("", "", min(family.num_inference_steps, limits.steps), family.guidance_scale, "", True, "", AUTO, 1),
        schedulers=[
            (f"{default.removesuffix('Scheduler')} (default)", ""),
            *((name, name) for name in names_for(config)),
        ],
        sizes=[AUTO, *_sizes(pipe, limits)],
        image_to_image=ENCODER in pipe.package.components,
        strength=family.strength,
    )


def _sizes(pipe: TextToImage, limits: Limits) -> list[str]:
    default_height, default_width = (side * pipe.model.latents.factor for side in pipe.model.latents.size)
    sizes = [f"{default_width}x{default_height}"]
    if not pipe.model.static:
        unit, area = pipe.model.latents.factor * _MULTIPLE, default_height * default_width
        for across, down in _SHAPES:
            width, height = (max(1, round(math.sqrt(area * ratio) / unit)) * unit
                             for ratio in (across / down, down / across))  # fmt: skip
            if width * height <= limits.pixels:
                sizes.append(f"{width}x{height}")
    return [*dict.fromkeys(sizes)]


def form_of(path: str, pipe: TextToImage) -> tuple[Form, list[str]]:
    """Form with the settings of an image, and notices about settings that the form cannot hold.

    Args:
        path: a PNG written by Triptych.
        pipe: the selected model.

    Raises:
        ArgumentError: the file is not a PNG, or has no settings.
    """
    try:
        settings = read_settings(path)
    except ArgumentError as error:
        raise ArgumentError(str(error).replace(path, Path(path).name)) from None
    scale = settings.guidance_scale
    form = Form(
        prompt=settings.prompt,
        negative_prompt=settings.negative_prompt or "",
        steps=settings.num_inference_steps,
        guidance=scale[0] if isinstance(scale, list) else scale,
        seed="" if settings.seed is None else str(settings.seed),
        random_seed=settings.seed is None,
        scheduler="" if settings.scheduler == pipe.package.scheduler_config()["_class_name"] else settings.scheduler,
        size=f"{settings.width}x{settings.height}",
        images=1,
    )
    return form, _notices(settings, pipe)


def _notices(settings: Settings, pipe: TextToImage) -> list[str]:
    uncovered = (field for field in fields(settings) if field.name not in _COVERED)
    missing = [field.name for field in uncovered if getattr(settings, field.name) != field.default]
    if isinstance(settings.guidance_scale, list):
        missing.append("guidance of each step")
    if settings.noise != "torch":
        missing.append(f"{settings.noise} noise")
    notices = [f"The form has no field for these settings: {', '.join(missing)}."] if missing else []
    if settings.strength is not None:
        notices.append("The image has an init image, which its settings do not include. Upload the init image too.")
    if settings.model_hash != pipe.package.fingerprint:
        notices.append(f"The image was generated by another package, {settings.model}. The result will be different.")
    return notices


def start_of(editor: "dict[str, Any] | None", strength: float, limits: Limits) -> dict[str, Any]:
    """Contents of the image editor as image, mask_image and strength of a request; {} if the editor is empty.

    Raises:
        ServiceError: the image is larger than the limit.
    """
    from PIL import Image, ImageChops

    background: Image.Image | None = None if editor is None else editor["background"]
    if editor is None or background is None or background.getchannel("A").getextrema()[1] == 0:
        return {}
    if background.width * background.height > limits.upload_pixels:
        size = f"{background.width}x{background.height}"
        raise invalid(f"the image is {size}; allowed: {limits.upload_pixels} pixels", "image")
    white = Image.new("RGBA", background.size, "white")
    start: dict[str, Any] = {
        "image": Image.alpha_composite(white, background).convert("RGB"),
        "strength": strength,
    }
    painted = Image.new("L", background.size)
    for layer in editor["layers"]:
        painted = ImageChops.lighter(painted, layer.getchannel("A").resize(background.size))
    if painted.getbbox() is not None:
        start["mask_image"] = painted.point(lambda value: 255 if value else 0)
    return start
