"""What the page's form says, as a request; and what a package or a picture's settings say, as a form."""

import math
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ...errors import ArgumentError
from ...image.encoding import ENCODER
from ...image.pixels import read_settings
from ...image.settings import Settings
from ...pipeline import TextToImage
from ...sampling.listing import names
from ..errors import invalid
from ..http.schema import Generation
from ..limits import Limits

if TYPE_CHECKING:
    pass

AUTO = "auto"
_SHAPES = ((1, 1), (3, 4), (4, 3), (9, 16), (16, 9))
"""Width to height of the sizes that are offered, all of about as many pixels as the package's own."""

_MULTIPLE = 8  # of latents: U-Nets halve them, often three times
_SAID = {field.name for field in fields(Settings) if field.default is MISSING} | {"strength"}
"""Settings that the form has a place for, and what is said about the picture."""


@dataclass(frozen=True)
class Form:
    """The form's fields, in their order on the page; a seed is a text, since browsers round large numbers."""

    prompt: str
    negative_prompt: str
    steps: float
    guidance: float
    seed: str
    draw: bool
    scheduler: str
    size: str
    pictures: float

    def asked(self) -> Generation:
        """As a request.

        Raises:
            ServiceError: a field is not what it should be.
        """
        said = {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt or None,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "seed": None if self.draw or not self.seed.strip() else self.seed.strip(),
            "scheduler": self.scheduler or None,
            "size": self.size.strip() or AUTO,
            "n": self.pictures,
        }
        if not self.prompt.strip():
            raise invalid("no prompt: say what to draw", "prompt")
        try:
            return Generation.model_validate(said)
        except ValidationError as error:
            first = error.errors()[0]
            raise invalid(f"{first['loc'][0]}: {first['msg']}") from None


@dataclass(frozen=True)
class Offer:
    """What a package offers: the form as it is at first, and what there is to choose from."""

    form: Form
    schedulers: list[tuple[str, str]]
    sizes: list[str]
    begins_from_pictures: bool
    strength: float


def offer_of(pipe: TextToImage, limits: Limits) -> Offer:
    """What a package offers within the limits, with what its family takes where nothing is said."""
    family, own = pipe.family, str(pipe.package.scheduler_config()["_class_name"])
    return Offer(
        form=Form("", "", min(family.num_inference_steps, limits.steps), family.guidance_scale, "", True, "", AUTO, 1),
        schedulers=[(f"{own.removesuffix('Scheduler')} (own)", ""), *((name, name) for name in names())],
        sizes=[AUTO, *_sizes(pipe, limits)],
        begins_from_pictures=ENCODER in pipe.package.components,
        strength=family.strength,
    )


def _sizes(pipe: TextToImage, limits: Limits) -> list[str]:
    own_height, own_width = (side * pipe.model.latents.factor for side in pipe.model.latents.size)
    sizes = [f"{own_width}x{own_height}"]
    if not pipe.model.static:
        unit, area = pipe.model.latents.factor * _MULTIPLE, own_height * own_width
        for across, down in _SHAPES:
            width, height = (max(1, round(math.sqrt(area * ratio) / unit)) * unit
                             for ratio in (across / down, down / across))  # fmt: skip
            if width * height <= limits.pixels:
                sizes.append(f"{width}x{height}")
    return [*dict.fromkeys(sizes)]


def restored(path: str, pipe: TextToImage) -> tuple[Form, list[str]]:
    """The form that gave a picture, and what it does not hold of the picture's settings, in sentences.

    Args:
        path: a PNG that Triptych wrote.
        pipe: that the form is for.

    Raises:
        ArgumentError: it is none, or carries no settings.
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
        draw=settings.seed is None,
        scheduler="" if settings.scheduler == pipe.package.scheduler_config()["_class_name"] else settings.scheduler,
        size=f"{settings.width}x{settings.height}",
        pictures=1,
    )
    return form, _lacking(settings, pipe)


def _lacking(settings: Settings, pipe: TextToImage) -> list[str]:
    others = (field for field in fields(settings) if field.name not in _SAID)
    lacking = [field.name for field in others if getattr(settings, field.name) != field.default]
    if isinstance(settings.guidance_scale, list):
        lacking.append("guidance of each step")
    if settings.noise != "torch":
        lacking.append(f"{settings.noise} noise")
    sentences = [f"This page has no place for its {', '.join(lacking)}."] if lacking else []
    if settings.strength is not None:
        sentences.append("It was made from another picture, which it does not carry: give that, too.")
    if settings.model_hash != pipe.package.fingerprint:
        sentences.append(f"It was made by another package, {settings.model}: expect another picture.")
    return sentences


def beginning_of(editor: "dict[str, Any] | None", strength: float, limits: Limits) -> dict[str, Any]:
    """What was put into the editor and painted over, as image, mask_image and strength of a job; {} where it is empty.

    Raises:
        ServiceError: the picture is larger than is allowed.
    """
    from PIL import Image, ImageChops

    background: Image.Image | None = None if editor is None else editor["background"]
    if editor is None or background is None or background.getchannel("A").getextrema()[1] == 0:
        return {}
    if background.width * background.height > limits.upload_pixels:
        given = f"{background.width}x{background.height}"
        raise invalid(f"the picture is {given}; allowed: {limits.upload_pixels} pixels", "image")
    white = Image.new("RGBA", background.size, "white")
    beginning: dict[str, Any] = {
        "image": Image.alpha_composite(white, background).convert("RGB"),
        "strength": strength,
    }
    painted = Image.new("L", background.size)
    for layer in editor["layers"]:
        painted = ImageChops.lighter(painted, layer.getchannel("A").resize(background.size))
    if painted.getbbox() is not None:
        beginning["mask_image"] = painted.point(lambda value: 255 if value else 0)
    return beginning
