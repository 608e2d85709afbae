"""Request and response bodies: the API of Stable Diffusion web UI, as far as its clients use it."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..http.schema import MAX_GUIDANCE, MAX_SEED, MAX_UPSCALE

RANDOM = -1
"""A seed that is drawn."""

_MAX_BLUR = 64
_LARGEST = 100_000
_NO_EFFECT = "Accepted without effect."
_UNUSED = "Refused unless it has its default."

Anything = dict[str, Any]


class Fields(BaseModel):
    """Fields of both tasks; null is the default of a field, and other fields have no effect."""

    model_config = ConfigDict(extra="ignore")

    prompt: str = ""
    negative_prompt: str = ""
    seed: int = Field(RANDOM, ge=RANDOM, le=MAX_SEED, description="Seed of the first image; -1 is random.")
    subseed: int = Field(RANDOM, ge=RANDOM, le=MAX_SEED, description="Variation seed; -1 is random.")
    subseed_strength: float = Field(0.0, ge=0, le=1, description="Variation strength.")
    batch_size: int = Field(1, ge=1, le=_LARGEST, description="Images, multiplied with n_iter.")
    n_iter: int = Field(1, ge=1, le=_LARGEST)
    steps: int | None = Field(None, ge=1, description="Default: the model's.")
    cfg_scale: float | None = Field(None, ge=0, le=MAX_GUIDANCE, description="Guidance scale. Default: the model's.")
    width: int | None = Field(None, ge=1, le=_LARGEST, description="Default: the model's.")
    height: int | None = Field(None, ge=1, le=_LARGEST, description="Default: the model's.")
    sampler_name: str | None = Field(None, description="Default: the model's.")
    sampler_index: str | None = Field(None, description="Older name of sampler_name.")
    scheduler: str | None = Field(None, description="Noise levels, for example Karras.")
    eta: float | None = Field(None, ge=0, le=1, description="For samplers that take it, without effect on others.")
    override_settings: Anything = Field({}, description="Only sd_model_checkpoint has an effect.")
    send_images: bool = True
    script_name: str | None = Field(None, description=_UNUSED)
    alwayson_scripts: Anything = Field({}, description="Refused where a script is in use.")
    styles: list[str] = Field([], description=_UNUSED)
    restore_faces: bool = Field(False, description=_UNUSED)
    tiling: bool = Field(False, description=_UNUSED)
    refiner_checkpoint: str | None = Field(None, description=_UNUSED)
    seed_resize_from_h: int = Field(RANDOM, description="Refused if above 0.")
    seed_resize_from_w: int = Field(RANDOM, description="Refused if above 0.")
    s_churn: float = Field(0.0, description=_UNUSED)
    s_tmin: float = Field(0.0, description=_UNUSED)
    s_noise: float = Field(1.0, description=_UNUSED)
    save_images: bool = Field(False, description=_NO_EFFECT)
    do_not_save_samples: bool = Field(False, description=_NO_EFFECT)
    do_not_save_grid: bool = Field(False, description=_NO_EFFECT)
    override_settings_restore_afterwards: bool = Field(True, description=_NO_EFFECT)

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        required = {name for name, field in cls.model_fields.items() if field.is_required()}
        return {name: value for name, value in values.items() if value is not None or name in required}


class TextToImage(Fields):
    """Request for images from a prompt."""

    enable_hr: bool = Field(False, description="Upscale and refine; the image is resized by Lanczos.")
    hr_scale: float = Field(2.0, gt=0, le=MAX_UPSCALE, description="With enable_hr: factor of width and height.")
    denoising_strength: float = Field(0.7, ge=0, le=1, description="With enable_hr: strength of the second pass.")
    hr_upscaler: str | None = Field(None, description=_NO_EFFECT)
    hr_second_pass_steps: int = Field(0, ge=0, description="With enable_hr refused, unless 0 or steps.")
    hr_resize_x: int = Field(0, description="With enable_hr refused if above 0: see hr_scale.")
    hr_resize_y: int = Field(0, description="With enable_hr refused if above 0: see hr_scale.")
    hr_prompt: str = Field("", description="With enable_hr refused unless it is empty.")
    hr_negative_prompt: str = Field("", description="With enable_hr refused unless it is empty.")


class ImageToImage(Fields):
    """Request for images from an image and a prompt."""

    init_images: list[str] = Field(min_length=1, description="One image in base64 or as a data URL.")
    mask: str | None = Field(None, description="Image in base64 or as a data URL; white where the image is redrawn.")
    inpainting_mask_invert: int = Field(0, ge=0, le=1, description="1: redraw where the mask is black.")
    mask_blur: float = Field(4.0, ge=0, le=_MAX_BLUR, description="Radius of a Gaussian blur of the mask, in pixels.")
    denoising_strength: float = Field(0.75, gt=0, le=1)
    image_cfg_scale: float | None = Field(None, ge=0, le=MAX_GUIDANCE, description="For models that edit images.")
    resize_mode: int = Field(0, ge=0, le=3, description="Refused unless 0, or the image has the size of the result.")
    inpainting_fill: int = Field(0, description="Accepted without effect: the masked content is the original.")
    inpaint_full_res: bool = Field(True, description="Accepted without effect: the whole image is redrawn.")
    inpaint_full_res_padding: int = Field(0, description=_NO_EFFECT)
    include_init_images: bool = Field(False, description=_NO_EFFECT)


class Result(BaseModel):
    """Images in base64 as PNG, the request's fields, and JSON that describes the images."""

    images: list[str]
    parameters: Anything
    info: str


class Rejection(BaseModel):
    """Body of every error response."""

    error: str
    detail: str
    body: str = ""
    errors: str = ""


class Sampler(BaseModel):
    """A sampler."""

    name: str
    aliases: list[str]
    options: dict[str, str]


class Scheduler(BaseModel):
    """A spacing of noise levels."""

    name: str
    label: str
    aliases: list[str] | None = None
    default_rho: float = -1.0
    need_inner_model: bool = False


class Checkpoint(BaseModel):
    """A served package."""

    model_config = ConfigDict(protected_namespaces=())

    title: str
    model_name: str
    hash: str | None
    sha256: str | None = None
    filename: str
    config: str | None = None


class JobState(BaseModel):
    """JobState of the request that runs."""

    skipped: bool = False
    interrupted: bool = False
    job: str
    job_count: int
    job_timestamp: str
    job_no: int = 0
    sampling_step: int
    sampling_steps: int


class ProgressAnswer(BaseModel):
    """Progress of the images of this API, 0 to 1; 0 if there are none."""

    progress: float
    eta_relative: float
    state: JobState
    current_image: str | None = None
    textinfo: str | None = None


class FileToRead(BaseModel):
    """An image in base64 or as a data URL."""

    image: str


class FileInfo(BaseModel):
    """Texts in the metadata of a PNG or a JPEG."""

    info: str
    items: dict[str, str]
    parameters: Anything = {}


_UPSCALER = {"model_name": None, "model_path": None, "model_url": None}

CONSTANT: Mapping[str, Any] = {
    "/cmd-flags": {},
    "/embeddings": {"loaded": {}, "skipped": {}},
    "/extensions": [],
    "/face-restorers": [],
    "/hypernetworks": [],
    "/latent-upscale-modes": [],
    "/loras": [],
    "/memory": {"ram": {}, "cuda": {}},
    "/prompt-styles": [],
    "/realesrgan-models": [],
    "/script-info": [],
    "/scripts": {"txt2img": [], "img2img": []},
    "/sd-modules": [],
    "/sd-vae": [],
    "/upscalers": [{"name": "None", "scale": 1.0, **_UPSCALER}, {"name": "Lanczos", "scale": 4.0, **_UPSCALER}],
}
"""Paths that clients ask when they connect -> the answer, which never changes."""

REFRESH = ("/refresh-checkpoints", "/refresh-vae", "/refresh-loras", "/refresh-embeddings")
"""Paths that are accepted without effect."""
