"""Bodies of the HTTP API: OpenAI's Images API, with diffusers' names for fields that it lacks."""

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ...request import FIELDS

SEED_MOST = 2**64 - 1
GUIDANCE_MOST = 100.0  # far beyond useful values, and far below overflow
NUMBER_MOST = 1000.0
PIXELS_MOST = 100_000


def _from_form(value: Any) -> Any:
    """A field of a form as numbers: repeated fields, or one text with commas between the numbers."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    if isinstance(value, str) and "," in value:
        return value.split(",")
    return value


def _listed(value: Any) -> Any:
    """A field of a form as a list of numbers, also where it has one; names stay as they are."""
    value = _from_form(value)
    if not isinstance(value, str):
        return value
    try:
        return [float(value)]
    except ValueError:
        return value


Scale = Annotated[float, Field(ge=0, le=GUIDANCE_MOST)]
Scales = Annotated[Scale | list[Scale], BeforeValidator(_from_form)]
Number = Annotated[float, Field(ge=-NUMBER_MOST, le=NUMBER_MOST)]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2), BeforeValidator(_from_form)]
Three = Annotated[list[Number], Field(min_length=3, max_length=3), BeforeValidator(_from_form)]
Pixels = Annotated[int, Field(ge=0, le=PIXELS_MOST)]
Corner = Annotated[list[Pixels], Field(min_length=2, max_length=2), BeforeValidator(_from_form)]
Grid = Annotated[list[Annotated[float, Field(ge=0, le=NUMBER_MOST)]] | str, BeforeValidator(_listed)]


class ImageFields(BaseModel):
    """The fields of generations and edits."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(description="The prompt, with weights such as (words:1.3); BREAK starts a new chunk.")
    model: str | None = Field(None, description="One of /v1/models; the first of them if left out.")
    n: int = Field(1, ge=1, description="Number of images; their seeds count up.")
    size: str = Field("auto", pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$", description="WIDTHxHEIGHT in pixels, or auto.")
    response_format: Literal["b64_json"] = "b64_json"
    output_format: Literal["png"] = "png"
    stream: bool = Field(False, description="Answer with server-sent events.")
    partial_images: int = Field(0, ge=0, le=3, description="With stream: previews of each image.")
    seed: int | None = Field(None, ge=0, le=SEED_MOST, description="Seed of the first image; drawn if left out.")
    num_inference_steps: int | None = Field(
        None, ge=1, description="Steps of the scheduler; the model's own if left out."
    )
    guidance_scale: Scales | None = Field(
        None, description="Guidance, 1 is none; a list has one for each denoiser call. The model's own if left out."
    )
    guidance_rescale: float | None = Field(None, ge=0, le=1, description="Against overexposure, such as 0.7.")
    guidance_interval: Pair | None = Field(
        None, description="Noise levels [low, high] between which guidance is applied."
    )
    guidance_projection: Three | None = Field(
        None, description="Adaptive projected guidance: [eta, norm_threshold, momentum], such as [0, 15, -0.5]."
    )
    image_guidance_scale: float | None = Field(
        None, ge=1, le=GUIDANCE_MOST, description="For models that edit images: how closely to follow the image."
    )
    negative_prompt: str | None = Field(None, description="Text to steer away from.")
    prompt_2: str | None = Field(None, description="Prompt of the second text encoder; prompt if left out.")
    negative_prompt_2: str | None = Field(None, description="Negative prompt of the second text encoder.")
    scheduler: str | None = Field(
        None, description="A scheduler in place of the model's own, such as dpmpp_2m or euler_a."
    )
    eta: float | None = Field(None, ge=0, le=1, description="Share of new noise, for schedulers that take it.")
    timesteps: Grid | None = Field(
        None, description="Timesteps in place of num_inference_steps, or the name of a schedule."
    )
    sigmas: Grid | None = Field(
        None, description="Noise levels in place of num_inference_steps, or the name of a schedule."
    )
    original_size: Corner | None = Field(None, description="SDXL's micro-conditioning: [height, width] in pixels.")
    crops_coords_top_left: Corner | None = Field(None, description="SDXL's micro-conditioning: [top, left] in pixels.")
    target_size: Corner | None = Field(None, description="SDXL's micro-conditioning: [height, width] in pixels.")
    aesthetic_score: Number | None = Field(None, description="Micro-conditioning of SDXL's refiner, 0 to 10.")
    negative_aesthetic_score: Number | None = Field(None, description="The aesthetic score of the negative prompt.")
    noise: Literal["torch", "torch_cuda", "numpy"] | None = Field(
        None, description="Source of the seed's noise; torch if left out."
    )


class Generation(ImageFields):
    """Images from a prompt."""


class Edit(ImageFields):
    """Images from an image and a prompt, as a form."""

    image: UploadFile = Field(description="PNG, JPEG or WebP.")
    mask: UploadFile | None = Field(None, description="PNG of the size of image; transparent where it is redrawn.")
    strength: float | None = Field(None, gt=0, le=1, description="How much of image may change.")


NAMES = {"num_images_per_prompt": "n", "height": "size", "width": "size", "mask_image": "mask"}
"""Arguments of `Request` that have another name here, which is that of OpenAI's API."""

LEFT_OUT = {
    "denoising_start": "resumes from latents, which are not sent over HTTP",
    "denoising_end": "returns latents, which are not sent over HTTP",
    "latents": "an array of the caller's process",
    "prompt_embeds": "an array of the caller's process",
}
"""Arguments of `Request` that have no field -> the reason."""


def setting_names(body: type[ImageFields]) -> list[str]:
    """Fields that are arguments of `Request` under the same name, and are passed on as they are."""
    read_apart = {"seed", "image", "strength", *NAMES}
    return [name for name in body.model_fields if name in FIELDS and name not in read_apart]


class EncodedImage(BaseModel):
    """An image as a PNG in base64, and its seed."""

    b64_json: str
    seed: int


class Answer(BaseModel):
    """Images; `created` in seconds since 1970."""

    created: int
    data: list[EncodedImage]
    size: str
    output_format: Literal["png"] = "png"
    background: Literal["opaque"] = "opaque"


class Model(BaseModel):
    """A package; `created` in seconds since 1970."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "triptych"


class ModelList(BaseModel):
    """All packages that are served."""

    object: Literal["list"] = "list"
    data: list[Model]


class Failure(BaseModel):
    """One error."""

    message: str
    type: str
    param: str | None
    code: str | None


class Failed(BaseModel):
    """Body of every error."""

    error: Failure


class State(BaseModel):
    """State of the service."""

    status: str


Event = dict[str, Any]
"""The data of a server-sent event."""
