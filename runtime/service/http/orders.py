"""What a request asks for, as jobs, where the limits and the package allow it."""

from collections.abc import Mapping
from typing import Any

from PIL.Image import Resampling

from ...arguments import seeds_from, size_of
from ...image.encoding import ENCODER
from ...image.init_image import StartingPicture
from ...pipeline import TextToImage
from ...sampling import Sampler
from ...tasks.jobs import Job
from ..limits import MOST_CHUNKS, Limits
from ..refusals import invalid
from .schema import Asked


def jobs_of(pipe: TextToImage, asked: Asked, limits: Limits, beginning: Mapping[str, Any]) -> list[Job]:
    """A job for each picture, their seeds counting up.

    Args:
        pipe: that is to make them.
        asked: what the request says.
        limits: of what it may say.
        beginning: image, mask_image and strength, those that are given.

    Raises:
        Refusal: more than the limits allow, or what this package has no component for.
        ArgumentError, SamplerError: what this package cannot do.
    """
    if asked.n > limits.pictures:
        raise invalid(f"n={asked.n}; allowed: 1 to {limits.pictures}", "n")
    texts = {"prompt": asked.prompt}
    if asked.negative_prompt is not None:
        texts["negative_prompt"] = asked.negative_prompt
    for name, text in texts.items():
        _check_text(pipe, name, text, limits)
    starting = _starting(pipe, beginning)
    steps = _steps(pipe, asked, limits, 1.0 if starting is None else starting.strength)
    height, width = _size(pipe, asked, limits, starting)
    said = {"guidance_scale": asked.guidance_scale, "scheduler": asked.scheduler, **beginning}
    for name in ("image", "mask_image"):
        if name in said:  # as the pipeline scales them, but before they wait: all are small then, and can share a call
            said[name] = said[name].resize((width, height), Resampling.LANCZOS)
    shared = {
        **texts,
        **{name: value for name, value in said.items() if value is not None},
        "num_inference_steps": steps,
        "height": height,
        "width": width,
    }
    return [Job({**shared, "seed": seed}) for seed in seeds_from(asked.seed, asked.n)]


def _check_text(pipe: TextToImage, name: str, text: str, limits: Limits) -> None:
    if len(text) > limits.prompt:
        raise invalid(f"{name} has {len(text)} characters; allowed: {limits.prompt}", name)
    chunks = pipe.text_encoders.chunks_of(text)
    if chunks > MOST_CHUNKS:
        raise invalid(f"{name} is read in {chunks} chunks; allowed: {MOST_CHUNKS}", name)


def _starting(pipe: TextToImage, beginning: Mapping[str, Any]) -> StartingPicture | None:
    if "image" in beginning and ENCODER not in pipe.package.components:
        raise invalid("this model has no VAE encoder, and cannot begin from a picture", "image")
    image, mask, strength = (beginning.get(name) for name in ("image", "mask_image", "strength"))
    factor = pipe.vae_scale_factor
    return StartingPicture.read(image, mask, strength, None, pipe.family, 1, 1, factor=factor, masked=pipe.masked)


def _steps(pipe: TextToImage, asked: Asked, limits: Limits, strength: float) -> int:
    steps = pipe.family.num_inference_steps if asked.num_inference_steps is None else asked.num_inference_steps
    if steps > limits.steps:
        raise invalid(f"num_inference_steps={steps}; allowed: 1 to {limits.steps}", "num_inference_steps")
    # a sampler that cannot be is told now, not when its turn has come
    config = pipe.family.scheduler_config(pipe.package.scheduler_config(), asked.scheduler)
    Sampler.from_config(config, steps, strength=strength, shortens=pipe.family.shortens)
    return steps


def _size(pipe: TextToImage, asked: Asked, limits: Limits, starting: StartingPicture | None) -> tuple[int, int]:
    factor = pipe.vae_scale_factor
    width, height = (None, None) if asked.size == "auto" else size_of("size", asked.size)
    if starting is not None and not pipe.static:
        height, width = starting.size(height, width, factor)
    height, width = (side * factor for side in pipe.latent_size_of(height, width))
    if height * width > limits.pixels:
        raise invalid(f"{width}x{height} is {height * width} pixels; allowed: {limits.pixels}", "size")
    return height, width
