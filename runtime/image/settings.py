"""The settings of one picture, as they travel in its PNG."""

import dataclasses
import functools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError


@dataclass(frozen=True)
class Settings:
    """Everything that, with the same package, gives the same picture again."""

    prompt: str
    negative_prompt: str | None
    num_inference_steps: int
    guidance_scale: float | list[float]
    seed: int | None  # None where the caller gave the latents, or what they are conditioned on
    width: int
    height: int
    scheduler: str
    noise: str
    model: str  # the package's folder
    model_hash: str  # of its files, "" where it has no manifest
    precision: str
    version: str
    # What the first version's pictures do not say: they were made without
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
    strength: float | None = None  # None where no picture was given, and none was scaled up
    aesthetic_score: float | None = None
    negative_aesthetic_score: float | None = None
    denoising_start: float | None = None
    denoising_end: float | None = None
    upscale: float | None = None  # times width and height, which are those before

    def arguments(self) -> dict[str, Any]:
        """The arguments of `TextToImage.__call__` that make the picture again, or of `upscaled` where it has `upscale`.

        Raises:
            ArgumentError: it was made from latents or from a picture, which no settings hold.
        """
        if self.seed is None:
            raise ArgumentError(
                "this picture was made from given latents or embeddings, not from a seed: it cannot be repeated"
            )
        about = ["model", "model_hash", "precision", "version"]
        if self.upscale is None:
            about += ["strength", "upscale"]
            if self.strength is not None:
                raise ArgumentError(
                    "this picture was made from another one: it cannot be repeated from its settings alone"
                )
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in about}

    def to_json(self) -> str:
        """One JSON object, keys as diffusers names its arguments."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Read what `to_json` wrote.

        Raises:
            ArgumentError: it is not the JSON of settings.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise ArgumentError(f"the settings in the picture cannot be read: {error}") from None

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


def plain(value: Any) -> Any:
    """A number or a sequence of numbers as JSON has them; a name or None as it is."""
    return value if value is None or isinstance(value, str) else np.asarray(value, np.float64).tolist()


@functools.cache
def own_version() -> str:
    """Triptych's version."""
    from importlib.metadata import version  # slow to import

    return version("triptych")
