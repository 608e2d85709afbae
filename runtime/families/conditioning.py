"""The conditioning of the denoiser, by the names of its inputs: text embeddings, micro-conditioning and guidance."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, shown
from ..request import Request

Conditioning = Mapping[str, np.ndarray]
"""Float32 arrays [n, ...] by the names of the denoiser's inputs, a row for each image."""

SAMPLE, TIMESTEP = "sample", "timestep"
"""[n, C, h, w]: the latents; and [] or [n]."""
TEXT = "encoder_hidden_states"
"""[n, tokens, width]: the embedding of each token."""
POOLED = "text_embeds"
"""[n, width]: one embedding of the whole text."""
SIZES = "time_ids"
"""[n, 6], or 5 of a refiner: see `MicroConditioning`."""
GUIDANCE = "timestep_cond"
"""[n, width]: the embedded guidance scale, of denoisers that were trained to take it (latent consistency models)."""
EXTRA_CHANNELS = "extra_channels"
"""[n, K, h, w]: not a separate input, but channels after those of the latents. An inpainting model takes a mask and the
latents of the masked image; a model that edits images takes the latents of the image, not scaled."""

SCORES = (6.0, 2.5)
"""Default aesthetic scores of the prompt and of the negative prompt: those of diffusers' pipelines."""


class MicroConditioning(NamedTuple):
    """SDXL's conditioning on sizes; sizes are (height, width), and a corner (top, left), in pixels.

    Source: Podell et al. 2023, section 2.2: the size of the image before it was scaled for training, the corner where
    it was cropped, and the target size. The refiner takes an aesthetic score, 0 to 10, in place of the target size.
    """

    original_size: Sequence[int] | None = None
    crops_coords_top_left: Sequence[int] | None = None
    target_size: Sequence[int] | None = None
    aesthetic_score: float | None = None
    negative_aesthetic_score: float | None = None

    @classmethod
    def of(cls, request: Request) -> "MicroConditioning":
        """The values of a request."""
        return cls(*(getattr(request, name) for name in cls._fields))

    @staticmethod
    def width(names: Sequence[str]) -> int:
        """Numbers that a denoiser takes: two for a size or corner, one for a score."""
        return sum(1 if name.endswith("score") else 2 for name in names)

    def check(self, names: Sequence[str]) -> None:
        """Raise an error for values that the denoiser does not take; `names` are those that it takes.

        Raises:
            ArgumentError: names the first such value.
        """
        supported = {*names, *(f"negative_{name}" for name in names)}
        for name, value in self._asdict().items():
            if value is not None and name not in supported:
                raise ArgumentError(f"{name}={shown(value)}: this model does not take it; leave it out")

    def rows(
        self, names: Sequence[str], count: int, height: int, width: int
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The denoiser's input for prompts and for negative prompts; {} where it has none.

        Args:
            names: values that the denoiser takes, in order; with an aesthetic score, the negative prompts take theirs.
            count: images.
            height, width: of the images, which are the default sizes.
        """
        if not names:
            return {}, {}
        values: dict[str, Any] = MicroConditioning((height, width), (0, 0), (height, width), *SCORES)._asdict()
        values |= {name: value for name, value in self._asdict().items() if value is not None}
        negative = values
        if "aesthetic_score" in names:  # as in diffusers, with no crop either
            uncropped = {"crops_coords_top_left": (0, 0), "aesthetic_score": values["negative_aesthetic_score"]}
            negative = values | uncropped
        rows = [np.hstack([each[name] for name in names]).astype(np.float32) for each in (values, negative)]
        return {SIZES: np.tile(rows[0], (count, 1))}, {SIZES: np.tile(rows[1], (count, 1))}


def embedded(scale: float, width: int) -> np.ndarray:
    """Guidance scale embedding of latent consistency models, float32 [width].

    Sines and cosines of 1000 (scale - 1), at wavelengths from 2 pi to 20,000 pi (Meng et al. 2023, section 3.1, and the
    embedding of variational diffusion models); an odd width ends in 0.
    """
    half = width // 2
    frequencies = np.exp(np.arange(half) * -(np.log(10_000) / (half - 1))).astype(np.float32)
    angles = np.float32((scale - 1) * 1000) * frequencies
    return np.pad(np.concatenate([np.sin(angles), np.cos(angles)]), (0, width % 2))


def denoiser_inputs(latents: np.ndarray, conditioning: Conditioning) -> dict[str, np.ndarray]:
    """Inputs of the denoiser but the timestep, for latents [n, C, h, w] and their conditioning."""
    others = dict(conditioning)
    extra = others.pop(EXTRA_CHANNELS, None)
    return {SAMPLE: latents if extra is None else np.concatenate([latents, extra], axis=1), **others}


def stacked(*each: Conditioning) -> dict[str, np.ndarray]:
    """The rows of all, in order."""
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}
