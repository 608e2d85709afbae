"""Request and response bodies: OpenAI's Images API, extended by fields with diffusers' names."""

import json
from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ...request import FIELDS
from ...tasks.upscaling import STRENGTH
from ..queue.previews import MOST, MOST_DECODED

MAX_SEED = 2**64 - 1
MAX_GUIDANCE = 100.0  # well above useful values, well below overflow
MAX_NUMBER = 1000.0
MAX_PIXELS = 100_000
MAX_OPTIONS = 100
MAX_UPSCALE = 4.0


def _from_form(value: Any) -> Any:
    """Numbers of a form field: repeated fields, or one text of comma-separated numbers."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    if isinstance(value, str) and "," in value:
        return value.split(",")
    return value


def _listed(value: Any) -> Any:
    """List of the numbers of a form field, also for a single number; a name is returned unchanged."""
    value = _from_form(value)
    if not isinstance(value, str):
        return value
    try:
        return [float(value)]
    except ValueError:
        return value


def _object(value: Any) -> Any:
    """Value of a form field as JSON."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("not a JSON object") from None


def _allow_null(schema: dict[str, Any]) -> None:
    """Describe null as a value of each field that may be left out."""
    for name, field in schema["properties"].items():
        if name not in schema.get("required", ()) and {"type": "null"} not in field.get("anyOf", ()):
            rules = {key: field.pop(key) for key in [*field] if key not in ("title", "description", "default")}
            field["anyOf"] = [rules, {"type": "null"}]


Scale = Annotated[float, Field(ge=0, le=MAX_GUIDANCE)]
Scales = Annotated[Scale | list[Scale], BeforeValidator(_from_form)]
Number = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2), BeforeValidator(_from_form)]
Three = Annotated[list[Number], Field(min_length=3, max_length=3), BeforeValidator(_from_form)]
Pixels = Annotated[int, Field(ge=0, le=MAX_PIXELS)]
Corner = Annotated[list[Pixels], Field(min_length=2, max_length=2), BeforeValidator(_from_form)]
Option = bool | int | float | str | list[float] | None
SchedulerOptions = Annotated[dict[str, Option], Field(max_length=MAX_OPTIONS), BeforeValidator(_object)]
Grid = Annotated[list[Annotated[float, Field(ge=0, le=MAX_NUMBER)]] | str, BeforeValidator(_listed)]


OutputFormat = Literal["png", "jpeg", "webp"]
_IGNORED = "Accepted from OpenAI's clients, without effect."


class ImageFields(BaseModel):
    """Common fields of generations and edits; null is the default of a field."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_allow_null)

    prompt: str = Field(description="Prompt, with optional weights, for example (words:1.3); BREAK starts a new chunk.")
    model: str | None = Field(None, description="Name of a model of /v1/models; default: the first.")
    n: int = Field(1, ge=1, description="Number of images, with consecutive seeds.")
    size: str = Field("auto", pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$", description="WIDTHxHEIGHT in pixels, or auto.")
    response_format: Literal["b64_json", "url"] = Field(
        "b64_json", description="url where the service keeps images for a time; else it is refused."
    )
    output_format: OutputFormat = Field("png", description="Only PNG holds the settings of the image.")
    output_compression: int = Field(100, ge=0, le=100, description="Quality of jpeg and webp; png is lossless.")
    stream: bool = Field(False, description="Answer with server-sent events.")
    partial_images: int = Field(
        0,
        ge=0,
        le=MOST,
        description=f"With stream: previews of each image; a model without previews sends {MOST_DECODED} at most.",
    )
    progress: bool = Field(False, description="With stream: events with the progress of each image.")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="Seed of the first image; default: random.")
    variation_seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="With variation_strength: variation seed of the first image; those of the others count up, and "
        "all have the same seed. Default: random.",
    )
    variation_strength: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Vary the seed's image: 0 is the starting noise of the seed, 1 that of the variation seed.",
    )
    num_inference_steps: int | None = Field(None, ge=1, description="Number of scheduler steps; default: the model's.")
    guidance_scale: Scales | None = Field(
        None,
        description="Guidance scale, 1 disables it; a list has one value per denoiser call. Default: the model's.",
    )
    guidance_rescale: float | None = Field(
        None, ge=0, le=1, description="Guidance rescale against overexposure, for example 0.7."
    )
    guidance_interval: Pair | None = Field(
        None, description="Noise levels [low, high] between which guidance is applied."
    )
    guidance_projection: Three | None = Field(
        None, description="Adaptive projected guidance: [eta, norm_threshold, momentum], for example [0, 15, -0.5]."
    )
    image_guidance_scale: float | None = Field(
        None, ge=1, le=MAX_GUIDANCE, description="Image guidance scale of models that edit images."
    )
    negative_prompt: str | None = Field(None, description="Negative prompt.")
    prompt_2: str | None = Field(None, description="Prompt of the second text encoder; default: prompt.")
    prompt_3: str | None = Field(None, description="Prompt of the third text encoder; default: prompt.")
    negative_prompt_2: str | None = Field(None, description="Negative prompt of the second text encoder.")
    negative_prompt_3: str | None = Field(None, description="Negative prompt of the third text encoder.")
    scheduler: str | None = Field(None, description="Scheduler, for example dpmpp_2m or euler_a; default: the model's.")
    scheduler_options: SchedulerOptions | None = Field(
        None, description="Options of the scheduler by name, as in diffusers' scheduler_config.json."
    )
    eta: float | None = Field(
        None, ge=0, le=1, description="Share of new noise per step, for schedulers that support it."
    )
    timesteps: Grid | None = Field(
        None, description="Timesteps or the name of a schedule, in place of num_inference_steps."
    )
    sigmas: Grid | None = Field(
        None, description="Noise levels or the name of a schedule, in place of num_inference_steps."
    )
    original_size: Corner | None = Field(None, description="SDXL's micro-conditioning: [height, width] in pixels.")
    crops_coords_top_left: Corner | None = Field(None, description="SDXL's micro-conditioning: [top, left] in pixels.")
    target_size: Corner | None = Field(None, description="SDXL's micro-conditioning: [height, width] in pixels.")
    aesthetic_score: Number | None = Field(None, description="Micro-conditioning of SDXL's refiner, 0 to 10.")
    negative_aesthetic_score: Number | None = Field(None, description="The aesthetic score of the negative prompt.")
    noise: Literal["torch", "torch_cuda", "numpy"] | None = Field(
        None, description="Random number generator of the noise; default: torch."
    )
    background: Literal["auto", "opaque"] = Field("auto", description="Images are opaque.")
    quality: Literal["auto", "standard", "hd", "low", "medium", "high", "xhigh", "max"] = Field(
        "auto", description=f"{_IGNORED} See num_inference_steps."
    )
    style: Literal["vivid", "natural"] = Field("vivid", description=_IGNORED)
    moderation: Literal["auto", "low"] = Field("auto", description=_IGNORED)
    user: str | None = Field(None, description=_IGNORED)
    safety_identifier: str | None = Field(None, description=_IGNORED)

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {name: value for name, value in values.items() if value is not None or name not in optional}


class Generation(ImageFields):
    """Request for images from a prompt."""

    upscale: float | None = Field(
        None,
        gt=1,
        le=MAX_UPSCALE,
        description="Second pass at this factor of width and height, which refines the image.",
    )
    strength: float | None = Field(
        None, gt=0, le=1, description=f"With upscale: strength of the second pass, {STRENGTH} if left out."
    )


class Edit(ImageFields):
    """Request for images from an image and a prompt, as a form."""

    image: UploadFile = Field(description="PNG, JPEG, WebP, GIF, BMP, PPM or AVIF; one image, also as image[].")
    mask: UploadFile | None = Field(
        None, description="Image of the size of image; transparent where the image is repainted."
    )
    strength: float | None = Field(None, gt=0, le=1, description="Strength of the change of the image.")
    input_fidelity: Literal["low", "high"] = Field("low", description=f"{_IGNORED} See strength.")


NAMES = {"num_images_per_prompt": "n", "height": "size", "width": "size", "mask_image": "mask"}
"""Arguments of `Request` -> their different names in OpenAI's API."""

LEFT_OUT = {
    "denoising_start": "resumes from latents, which are not sent over HTTP",
    "denoising_end": "returns latents, which are not sent over HTTP",
    "latents": "an array, which is not sent over HTTP",
    "prompt_embeds": "an array, which is not sent over HTTP",
    "negative_prompt_embeds": "an array, which is not sent over HTTP",
}
"""Arguments of `Request` that have no field -> the reason."""


def setting_names(body: type[ImageFields]) -> list[str]:
    """Fields that are passed unchanged to arguments of `Request` with the same name."""
    converted = {"seed", "image", "strength", *NAMES}
    return [name for name in body.model_fields if name in FIELDS and name not in converted]


class EncodedImage(BaseModel):
    """Image file in base64, and its seed."""

    b64_json: str
    seed: int


class LinkedImage(BaseModel):
    """URL of an image file that is kept for a time, and the seed of the image."""

    url: str
    seed: int


class Answer(BaseModel):
    """Response with images; `created` in seconds since 1970."""

    created: int
    data: list[EncodedImage | LinkedImage]
    size: str
    output_format: OutputFormat
    background: Literal["opaque"] = "opaque"


class Failure(BaseModel):
    """Description of an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class Failed(BaseModel):
    """Body of every error response."""

    error: Failure


class State(BaseModel):
    """State of the service."""

    status: str


Event = dict[str, Any]
"""The data of a server-sent event."""
