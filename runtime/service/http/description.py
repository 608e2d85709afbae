"""Descriptions of the served models: what a package can do, its defaults, sizes and limits. No graph is loaded."""

import math
from typing import Any, Literal

from pydantic import BaseModel, Field

from ...families.conditioning import GUIDANCE
from ...families.family import INPAINTING, TEXT_TO_IMAGE
from ...image.encoding import ENCODER
from ...image.preview import has_previews
from ...package.defaults import UPSCALING
from ...package.model import Model as Facts
from ...package.package import INDEX
from ...sampling.listing import names_for
from ...tasks.upscaling import can_upscale
from ..limits import Limits
from ..queue.pool import ModelState
from ..queue.previews import allowed
from .catalog import Catalog

_SHAPES = ((1, 1), (3, 4), (4, 3), (9, 16), (16, 9))
"""Aspect ratios of the suggested sizes, width to height; their areas are about that of the default size."""

_MULTIPLE = 8  # in latents: most U-Nets halve them three times


class Defaults(BaseModel):
    """Values of fields that are left out: the package's, else the family's.

    `scheduler` is a name or diffusers' class, `size` WIDTHxHEIGHT in pixels.
    """

    num_inference_steps: int
    guidance_scale: float
    strength: float
    image_guidance_scale: float | None
    scheduler: str
    scheduler_options: dict[str, Any] | None
    negative_prompt: str | None
    size: str


class Sizes(BaseModel):
    """Sizes of images."""

    multiple: int = Field(description="Width and height are multiples of this number of pixels.")
    fixed: bool = Field(description="Whether the default size is the only one.")
    suggested: list[str] = Field(description="WIDTHxHEIGHT in several ratios, of about the area of the default.")


class ModelLimits(BaseModel):
    """Largest values of a request; see the options of the service."""

    pixels: int
    steps: int
    n: int
    prompt: int = Field(description="Characters of each text.")
    body: int = Field(description="Bytes of a form.")
    upload_pixels: int
    timeout: float = Field(description="Seconds of a request.")
    queue: int = Field(description="Images that wait.")
    partial_images: int


class Model(BaseModel):
    """A served package; `created` in seconds since 1970."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "triptych"
    state: ModelState
    family: str
    precision: str
    fingerprint: str = Field(description="The `model_hash` in the settings of its images; empty without a manifest.")
    tasks: list[str]
    defaults: Defaults
    example_prompts: list[str] = Field(description="Prompts that show what the model is made for.")
    license: str | None = Field(description="License of the weights, where the package states it.")
    schedulers: list[str] = Field(description="Names of the schedulers that fit the model, for the field `scheduler`.")
    sizes: Sizes
    previews: bool = Field(
        description="Whether previews are cheap: the package has a preview decoder, or the colours of its latents."
    )
    fields: list[str] = Field(description="Fields that the model can use, of those that not every model can.")
    limits: ModelLimits


class ModelList(BaseModel):
    """List of the served packages."""

    object: Literal["list"] = "list"
    data: list[Model]


class Descriptions:
    """Descriptions of the models of a catalog; all but their state is read once.

    Args:
        models: the catalog.
        limits: of each request.
    """

    def __init__(self, models: Catalog, limits: Limits) -> None:
        self._models = models
        self._described = {name: _described(name, models, limits) for name in models.planners}

    def listed(self) -> list[Model]:
        """All models, loaded or not."""
        return [self.find(name) for name in self._described]

    def find(self, name: str) -> Model:
        """Model of a name.

        Raises:
            ServiceError: no model has this name (404).
        """
        model = self._described[self._models.name_of(name)]
        return model.model_copy(update={"state": self._models.state_of(name)})


def _described(name: str, models: Catalog, limits: Limits) -> Model:
    pipe = models.planners[name]
    package, family, config = pipe.package, pipe.family, pipe.package.scheduler_config()
    own = pipe.model.defaults
    height, width = pipe.model.size
    defaults = Defaults(
        num_inference_steps=min(pipe.model.num_inference_steps, limits.steps),
        guidance_scale=pipe.model.guidance_scale,
        strength=family.strength,
        image_guidance_scale=family.image_guidance_scale,
        scheduler=pipe.model.scheduler,
        scheduler_options=None if own.scheduler_options is None else dict(own.scheduler_options),
        negative_prompt=own.negative_prompt,
        size=f"{width}x{height}",
    )
    return Model(
        id=name,
        created=int((package.path / INDEX).stat().st_mtime),
        state=models.state_of(name),
        family=family.name,
        precision=package.manifest.precision or "unknown",
        fingerprint=package.fingerprint,
        tasks=_tasks(pipe.model),
        defaults=defaults,
        example_prompts=list(own.example_prompts),
        license=own.license,
        schedulers=names_for(config),
        sizes=Sizes(
            multiple=pipe.model.latents.multiple, fixed=pipe.model.static, suggested=_sizes(pipe.model, limits.pixels)
        ),
        previews=has_previews(package),
        fields=_fields(pipe.model),
        limits=ModelLimits(
            pixels=limits.pixels,
            steps=limits.steps,
            n=min(limits.pictures, models.capacity),
            prompt=limits.prompt,
            body=limits.body,
            upload_pixels=limits.upload_pixels,
            timeout=limits.timeout,
            queue=models.capacity,
            partial_images=allowed(pipe),
        ),
    )


def _tasks(model: Facts) -> list[str]:
    """The family's tasks, of those that the package has graphs for and states, and upscaling."""
    tasks = (INPAINTING,) if model.inpaints else model.family.tasks
    if ENCODER not in model.package.components:
        tasks = tuple(task for task in tasks if task == TEXT_TO_IMAGE)
    able = [*(task.replace(" ", "-") for task in tasks), *([UPSCALING] if can_upscale(model) else [])]
    return [task for task in able if task in (model.defaults.tasks or able)]


def _fields(model: Facts) -> list[str]:
    fields = ["guidance_scale"]
    for number in range(2, len(model.family.encoders) + 1):
        fields += [f"prompt_{number}", f"negative_prompt_{number}"]
    if GUIDANCE not in model.inputs:  # guidance that the denoiser does not embed is computed here
        fields += ["negative_prompt", "guidance_rescale", "guidance_interval", "guidance_projection"]
    if model.edits:
        fields.append("image_guidance_scale")
    fields += model.micro_conditioning
    if "aesthetic_score" in model.micro_conditioning:
        fields.append("negative_aesthetic_score")
    if ENCODER in model.package.components and not model.edits:
        fields += ["strength", "mask"]
    return [*fields, *(["upscale"] if can_upscale(model) else [])]


def _sizes(model: Facts, pixels: int) -> list[str]:
    height, width = model.size
    sizes = [(width, height)]
    if not model.static:
        unit, area = model.latents.factor * _MULTIPLE, height * width
        for across, down in _SHAPES:
            ratio = across / down
            sizes.append((_side(area * ratio, unit), _side(area / ratio, unit)))
    return [f"{width}x{height}" for width, height in dict.fromkeys(sizes) if width * height <= pixels]


def _side(square: float, unit: int) -> int:
    """The multiple of `unit` that is next to a square root, 1 or more."""
    return max(1, round(math.sqrt(square) / unit)) * unit
