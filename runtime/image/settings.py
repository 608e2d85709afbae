"""The settings of one image, as its PNG carries them."""

import dataclasses
import functools
import json
import math
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import numpy as np

from ..errors import ArgumentError, TriptychError
from ..package.package import Package
from ..request import Request, Texts
from .json_values import check

_MAX_CHARACTERS = 1 << 20  # of the JSON


@dataclass(frozen=True)
class Settings:
    """Values that, with the same package, reproduce an image."""

    prompt: str
    negative_prompt: str | None
    num_inference_steps: int
    guidance_scale: float | list[float]
    seed: int | None  # None with latents or embeddings of the caller
    width: int
    height: int
    scheduler: str
    noise: str
    model: str  # the package's folder
    model_hash: str  # of its files, "" where it has no manifest
    precision: str
    version: str
    # Absent from the images of the first version
    guidance_rescale: float = 0.0
    guidance_interval: list[float] | None = None
    guidance_projection: list[float] | None = None
    image_guidance_scale: float | None = None
    eta: float = 0.0
    timesteps: list[float] | str | None = None
    sigmas: list[float] | str | None = None
    prompt_2: str | None = None
    negative_prompt_2: str | None = None
    original_size: list[int] | None = None
    crops_coords_top_left: list[int] | None = None
    target_size: list[int] | None = None
    strength: float | None = None  # None where there was no image to start from, and no upscaling
    aesthetic_score: float | None = None
    negative_aesthetic_score: float | None = None
    denoising_start: float | None = None
    denoising_end: float | None = None
    scheduler_options: dict[str, Any] | None = None
    variation_seed: int | None = None
    variation_strength: float = 0.0
    prompt_3: str | None = None
    negative_prompt_3: str | None = None
    upscale: float | None = None  # factor of width and height, which are those before upscaling

    def arguments(self) -> dict[str, Any]:
        """The arguments of `TextToImage.__call__` that reproduce the image, or of `upscaled` where it has `upscale`.

        Raises:
            ArgumentError: the image depends on latents or on another image, which settings do not hold.
        """
        if self.seed is None:
            raise ArgumentError(
                "this image was generated from latents or embeddings, not from a seed: it cannot be reproduced"
            )
        about = ["model", "model_hash", "precision", "version"]
        if self.upscale is None:
            about += ["strength", "upscale"]
            if self.strength is not None:
                raise ArgumentError(
                    "this image was generated from another image: it cannot be reproduced from its settings alone"
                )
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in about}

    def to_json(self) -> str:
        """One JSON object, keys as diffusers names its arguments; without those of later versions that are not set."""
        values = dataclasses.asdict(self)
        for name in ("scheduler_options", "variation_seed", "variation_strength", "prompt_3", "negative_prompt_3"):
            if values[name] == getattr(Settings, name):  # the same image has the same bytes as before they existed
                del values[name]
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Read the JSON of `to_json`, from anywhere: every value is checked.

        Raises:
            ArgumentError: it is not the JSON of settings; names the key and what is allowed.
        """
        try:
            return cls(**_checked(text))
        except TriptychError as error:
            raise ArgumentError(f"the settings in the image cannot be read: {error}") from None

    def to_parameters(self) -> str:
        """The `parameters` text that other tools read (the layout of Stable Diffusion web UI)."""
        lines = [self.prompt]
        if self.negative_prompt:
            lines.append(f"Negative prompt: {self.negative_prompt}")
        scales = self.guidance_scale if isinstance(self.guidance_scale, list) else [self.guidance_scale]
        fields = {
            "Steps": self.num_inference_steps,
            "Sampler": self.scheduler,
            "CFG scale": " ".join(f"{scale:g}" for scale in scales),
            "Seed": self.seed,
            "Variation seed": self.variation_seed,
            "Variation seed strength": f"{self.variation_strength:g}" if self.variation_strength else None,
            "Size": f"{self.width}x{self.height}",
            "Model hash": self.model_hash or None,
            "Model": self.model,
            "Denoising strength": self.strength,
            "Hires upscale": self.upscale,
            "Hires upscaler": None if self.upscale is None else "Lanczos",
            "Version": f"triptych {self.version}",
        }
        lines.append(", ".join(f"{name}: {value}" for name, value in fields.items() if value is not None))
        return "\n".join(lines)


def settings_of(
    request: Request,
    texts: Sequence[Texts],
    seeds: Sequence[int | None],
    variation_seeds: Sequence[int] | None,
    package: Package,
) -> list[Settings]:
    """The settings of each image of a call.

    Args:
        request: with the values that were used, no defaults left.
        texts, seeds, variation_seeds: of each image; no variation seeds where the noise is not varied.
        package: the package in use.
    """
    shared = {name: convert(getattr(request, name)) for name, convert in RECORDED.items()}
    shared |= {
        "model": package.path.resolve().name,
        "model_hash": package.fingerprint,
        "precision": package.manifest.precision or "unknown",
        "version": own_version(),
    }
    reproducible = request.prompt_embeds is None and request.negative_prompt_embeds is None
    variations: Sequence[int | None] = variation_seeds or [None] * len(texts)
    return [
        Settings(**(shared | text._asdict() | {"seed": seed if reproducible else None, "variation_seed": variation}))
        for text, seed, variation in zip(texts, seeds, variations, strict=True)
    ]


def _checked(text: str) -> dict[str, Any]:
    """The values of `Settings` in a JSON object.

    Raises:
        TriptychError: too long, no JSON object, a key that is missing or unknown, or a value of another type or range.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ArgumentError(f"they have {len(text)} characters; allowed: {_MAX_CHARACTERS}")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:  # a list in a list, many times
        raise ArgumentError(f"no JSON: {error}") from None
    if not isinstance(values, dict):
        raise ArgumentError(f"they are a {type(values).__name__}; allowed: a JSON object")
    known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(Settings)}
    for name in (name for name in values if name not in known):
        raise ArgumentError(f"unknown key {reprlib.repr(name)}; they may be of a later version")
    for name in (name for name, required in known.items() if required and name not in values):
        raise ArgumentError(f"{name} is missing")
    kinds = get_type_hints(Settings)
    for name, value in values.items():
        check(name, value, kinds[name])
    Request(**{name: value for name, value in values.items() if name in RECORDED})  # checks the ranges
    upscale = values.get("upscale")
    if upscale is not None and not 1 < upscale < math.inf:
        raise ArgumentError(f"upscale={upscale:g}; allowed: above 1, for example 1.5 or 2")
    return values


def _plain(value: Any) -> Any:
    """A number, a sequence of numbers or a text as JSON value."""
    return value if value is None or isinstance(value, str) else np.asarray(value).tolist()


def _real(value: Any) -> Any:
    """Numbers as floating point numbers; a name or None as it is."""
    return value if value is None or isinstance(value, str) else np.asarray(value, np.float64).tolist()


RECORDED: dict[str, Callable[[Any], Any]] = {
    "prompt": _plain,
    "prompt_2": _plain,
    "prompt_3": _plain,
    "negative_prompt": _plain,
    "negative_prompt_2": _plain,
    "negative_prompt_3": _plain,
    "strength": _real,
    "denoising_start": _real,
    "denoising_end": _real,
    "num_inference_steps": _plain,
    "guidance_scale": _real,
    "guidance_rescale": _real,
    "guidance_interval": _real,
    "guidance_projection": _real,
    "image_guidance_scale": _real,
    "eta": _real,
    "timesteps": _real,
    "sigmas": _real,
    "seed": _plain,
    "variation_seed": _plain,
    "variation_strength": _real,
    "height": _plain,
    "width": _plain,
    "original_size": _plain,
    "crops_coords_top_left": _plain,
    "target_size": _plain,
    "aesthetic_score": _plain,
    "negative_aesthetic_score": _plain,
    "scheduler": _plain,
    "scheduler_options": lambda value: value,
    "noise": _plain,
}
"""Arguments that settings hold -> their conversion to JSON."""

LEFT_OUT = {
    "image": "an image is not stored in the settings of another one",
    "mask_image": "see image",
    "latents": "arrays are not stored; the seed is None then",
    "prompt_embeds": "see latents",
    "negative_prompt_embeds": "see latents",
    "num_images_per_prompt": "settings are those of one image",
}
"""Arguments that settings do not hold -> the reason."""


@functools.cache
def own_version() -> str:
    """Triptych's version."""
    from importlib.metadata import version  # slow to import

    return version("triptych")
