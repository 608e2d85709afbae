"""Conversion of requests to those of OpenAI's API, and of images to an answer."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from PIL.Image import Image
from pydantic import ValidationError

from ...image.pixels import SETTINGS_KEY
from ...package.model import Model
from ...request import Request
from ...sampling.names import fold
from ...sampling.registry import find
from ..errors import invalid
from ..http.bodies import refusal
from ..http.delivery import encode_image
from ..http.schema import Generation
from ..limits import Limits
from .images import mask, rgb
from .schema import RANDOM, Fields, ImageToImage, Result, TextToImage

OWN_LEVELS = ("", "automatic", "uniform")
"""Folded names of noise levels that stand for the sampler's own."""

_NONE = ("", "none")
_SECOND_PASS = ("hr_resize_x", "hr_resize_y", "hr_prompt", "hr_negative_prompt")


def check_supported(body: Fields) -> None:
    """Refuse fields that would change the image, and that are not supported, where they are used.

    Raises:
        ServiceError: names the field.
    """
    used = {name: getattr(body, name) for name in ("restore_faces", "tiling", "styles", "s_churn", "s_tmin")}
    used |= {"script_name": not _is_none(body.script_name), "refiner_checkpoint": not _is_none(body.refiner_checkpoint)}
    used |= {name: getattr(body, name) > 0 for name in ("seed_resize_from_h", "seed_resize_from_w")}
    used["s_noise"] = body.s_noise != 1
    if isinstance(body, TextToImage) and body.enable_hr:
        used |= {name: getattr(body, name) for name in _SECOND_PASS}
        used["hr_second_pass_steps"] = body.hr_second_pass_steps not in (0, body.steps)
    for name in (name for name, value in used.items() if value):
        raise invalid(f"{name} is not supported; leave it out", name)
    for name, script in body.alwayson_scripts.items():
        if _in_use(script):
            raise invalid(f"alwayson_scripts: {name[:40]!r} is not supported; leave it out", "alwayson_scripts")


def generation(body: Fields, model: Model) -> Generation:
    """The fields that OpenAI's API has, too.

    Raises:
        ServiceError: a value that it does not allow.
        SamplerError: an unknown sampler.
    """
    height, width = model.size
    scheduler = _scheduler(body)
    takes = find(model.scheduler if scheduler is None else scheduler)[0].takes
    values: dict[str, Any] = {
        "prompt": body.prompt,
        "negative_prompt": _negative_prompt(body, model),
        "n": body.batch_size * body.n_iter,
        "size": f"{width if body.width is None else body.width}x{height if body.height is None else body.height}",
        "seed": None if body.seed == RANDOM else body.seed,
        "variation_seed": None if body.subseed == RANDOM else body.subseed,
        "variation_strength": body.subseed_strength,
        "num_inference_steps": body.steps,
        "guidance_scale": body.cfg_scale,
        "scheduler": scheduler,
        "eta": body.eta if "eta" in takes else None,
    }
    if isinstance(body, ImageToImage) and model.edits and body.image_cfg_scale is not None:
        values["image_guidance_scale"] = body.image_cfg_scale
    try:
        return Generation(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise refusal({**first, "loc": ("body", *first["loc"])}) from None


def _negative_prompt(body: Fields, model: Model) -> str | None:
    """The negative prompt; None is the model's default one, which an empty text turns off."""
    turned_off = model.defaults.negative_prompt is not None and "negative_prompt" in body.model_fields_set
    return body.negative_prompt or ("" if turned_off else None)


def start_of(body: Fields, model: Model, limits: Limits) -> tuple[dict[str, Any], float | None]:
    """Image arguments of `Request`, and the factor to upscale by or None.

    Raises:
        ServiceError: an image that cannot be read, or a size that needs another resizing.
    """
    if isinstance(body, TextToImage):
        if not body.enable_hr or body.hr_scale <= 1:
            return {}, None
        if body.denoising_strength == 0:
            raise invalid("denoising_strength=0 with enable_hr; allowed: above 0, to 1", "denoising_strength")
        return {"strength": body.denoising_strength}, body.hr_scale
    assert isinstance(body, ImageToImage)
    if len(body.init_images) > 1:
        raise invalid(f"init_images has {len(body.init_images)} images; allowed: one", "init_images")
    image = rgb(body.init_images[0], "init_images", limits.upload_pixels)
    if body.resize_mode and image.size != (body.width or image.width, body.height or image.height):
        raise invalid(f"resize_mode={body.resize_mode}; allowed: 0, the image is stretched", "resize_mode")
    start: dict[str, Any] = {"image": image}
    if not model.edits:
        start["strength"] = body.denoising_strength
    if body.mask is not None:
        invert = bool(body.inpainting_mask_invert)
        start["mask_image"] = mask(body.mask, image.size, limits.upload_pixels, invert=invert, blur=body.mask_blur)
    return start, None


def answer(body: Fields, name: str, requests: Sequence[Request], images: Sequence[Image]) -> Result:
    """The answer with the images of a request; some may have been interrupted.

    Args:
        body: of the HTTP request.
        name: of the model.
        requests: of the images.
        images: those that were finished.
    """
    parameters = body.model_dump(exclude={"init_images", "mask"})
    encoded = [base64.b64encode(encode_image(image, "png", 100)).decode() for image in images]
    return Result(
        images=encoded if body.send_images else [],
        parameters=parameters,
        info=json.dumps(_info(body, name, requests, images)),
    )


def _info(body: Fields, name: str, requests: Sequence[Request], images: Sequence[Image]) -> Mapping[str, Any]:
    first, count = requests[0], len(requests)
    settings = json.loads(images[0].info[SETTINGS_KEY]) if images else {}
    variations = [RANDOM if each.variation_seed is None else each.variation_seed for each in requests]
    seeds = [each.seeds()[0] for each in requests]
    return {
        "prompt": body.prompt,
        "all_prompts": [body.prompt] * count,
        "negative_prompt": body.negative_prompt,
        "all_negative_prompts": [body.negative_prompt] * count,
        "seed": seeds[0],
        "all_seeds": seeds,
        "subseed": variations[0],
        "all_subseeds": variations,
        "subseed_strength": body.subseed_strength,
        "width": first.width,
        "height": first.height,
        "sampler_name": body.sampler_name or body.sampler_index or settings.get("scheduler", ""),
        "cfg_scale": settings.get("guidance_scale", body.cfg_scale),
        "steps": first.num_inference_steps,
        "batch_size": body.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": name,
        "sd_model_hash": settings.get("model_hash", "")[:10],
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": RANDOM,
        "seed_resize_from_h": RANDOM,
        "denoising_strength": first.strength,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [image.info["parameters"] for image in images],
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
    }


def _scheduler(body: Fields) -> str | None:
    """Name of sampler and noise levels; None is the model's own."""
    name = body.sampler_name or body.sampler_index or None
    levels = fold(body.scheduler or "")
    if levels in OWN_LEVELS or (name is not None and fold(name).endswith(levels)):
        return name
    if name is None:
        raise invalid(f"scheduler={body.scheduler!r} needs a sampler; give sampler_name as well", "sampler_name")
    return f"{name} {body.scheduler}"


def _is_none(name: str | None) -> bool:
    return name is None or name.lower() in _NONE


def _in_use(script: Any) -> bool:
    """Whether a script that runs with every image has arguments that do not turn it off."""
    arguments = script.get("args", []) if isinstance(script, Mapping) else script
    if not arguments or (isinstance(arguments, list) and arguments[0] is False):
        return False
    units = arguments if isinstance(arguments, list) else [arguments]
    return not all(isinstance(unit, Mapping) and unit.get("enabled") is False for unit in units)


def model_of(settings: Mapping[str, Any], selected: str | None) -> str | None:
    """Name of the model that settings choose, or the selected one; a title may end in a hash.

    Raises:
        ServiceError: the name is not text.
    """
    title = settings.get("sd_model_checkpoint")
    if title is None or title == "":
        return selected
    if not isinstance(title, str):
        raise invalid("sd_model_checkpoint is not text; allowed: a title of /sdapi/v1/sd-models", "sd_model_checkpoint")
    return title.partition(" [")[0].removesuffix(".safetensors").removesuffix(".ckpt")
