"""What is said over HTTP: OpenAI's Images API, with diffusers' names for what that lacks."""

from typing import Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

SEED_MOST = 2**64 - 1
GUIDANCE_MOST = 100.0  # far beyond what gives pictures, and far below what gives no numbers


class Asked(BaseModel):
    """What both kinds of requests say."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(description="What to draw, with weights such as (words:1.3); BREAK begins a new chunk.")
    model: str | None = Field(None, description="One of /v1/models; the first of them if left out.")
    n: int = Field(1, ge=1, description="Pictures; their seeds count up.")
    size: str = Field("auto", pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$", description="WIDTHxHEIGHT in pixels, or auto.")
    response_format: Literal["b64_json"] = "b64_json"
    output_format: Literal["png"] = "png"
    stream: bool = Field(False, description="Answer with server-sent events.")
    partial_images: int = Field(0, ge=0, le=3, description="With stream: pictures in the making, of each.")
    seed: int | None = Field(None, ge=0, le=SEED_MOST, description="Of the first picture; drawn if left out.")
    num_inference_steps: int | None = Field(None, ge=1, description="The model's own if left out.")
    guidance_scale: float | None = Field(
        None, ge=0, le=GUIDANCE_MOST, description="1 is none; the model's own if left out."
    )
    negative_prompt: str | None = Field(None, description="What to avoid.")
    scheduler: str | None = Field(None, description="In place of the model's own, such as dpmpp_2m or euler_a.")


class Generation(Asked):
    """A picture from a text."""


class Edit(Asked):
    """A picture from a picture and a text, as a form."""

    image: UploadFile = Field(description="PNG, JPEG or WebP.")
    mask: UploadFile | None = Field(
        None, description="PNG, as large as image; transparent where that is to be drawn anew."
    )
    strength: float | None = Field(None, gt=0, le=1, description="How much of image may change.")


class Picture(BaseModel):
    """A picture as a PNG in base64, and its seed."""

    b64_json: str
    seed: int


class Answer(BaseModel):
    """Pictures; `created` in seconds since 1970."""

    created: int
    data: list[Picture]
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
    """All packages."""

    object: Literal["list"] = "list"
    data: list[Model]


class Failure(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Failed(BaseModel):
    """The body of every answer that is an error."""

    error: Failure


class State(BaseModel):
    """Of the service."""

    status: str


Event = dict[str, Any]
"""The data of a server-sent event."""
