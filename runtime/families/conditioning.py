"""What the latent generator is conditioned on, by the names of its inputs: texts, sizes, and guidance."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError

Conditioning = Mapping[str, np.ndarray]
"""Float32 arrays [n, ...] by the names of the generator's inputs, a row for each picture."""

TEXT = "encoder_hidden_states"
"""[n, tokens, width]: what the texts say, word by word."""
POOLED = "text_embeds"
"""[n, width]: what they say as a whole."""
SIZES = "time_ids"
"""[n, 6], or 5 of a refiner: see `Told`."""
UNNAMED = {"onnx::Concat_4": POOLED, "onnx::Shape_5": SIZES}
"""Inputs of an SDXL U-Net to which an exporter (Olive) gave no name."""
GUIDANCE = "timestep_cond"
"""[n, width]: the guidance scale, where the generator was trained to take it (latent consistency models)."""
BEHIND = "behind"
"""[n, K, h, w]: no input of its own, but channels that the generator takes behind the latents; of an inpainting model,
a mask and the latents of the picture without what that covers; of one that edits, the picture's, not scaled."""

SCORES = (6.0, 2.5)
"""How people would like a picture, and one to avoid, where nothing is said: those of diffusers' pipelines."""


class Told(NamedTuple):
    """What SDXL is told of a picture besides its text; sizes are (height, width), and a corner (top, left), in pixels.

    Source: Podell et al. 2023, section 2.2: the size of the picture before it was scaled for training, the corner
    where it was cropped, and the size that is wanted. Its refiner is told how people would like the picture, from 0 to
    10, in place of the last.
    """

    original_size: Sequence[int] | None = None
    crops_coords_top_left: Sequence[int] | None = None
    target_size: Sequence[int] | None = None
    aesthetic_score: float | None = None
    negative_aesthetic_score: float | None = None

    def rows(self, names: Sequence[str], count: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Each float32 [count, numbers], for the prompts and for the negative ones; see `told_rows`."""
        said = Told((height, width), (0, 0), (height, width), *SCORES)._asdict()
        said |= {name: value for name, value in self._asdict().items() if value is not None}
        for name, value in said.items():
            if name.endswith("score"):
                if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(float(value)):
                    raise ArgumentError(f"{name}={value!r}; allowed: a number, such as {SCORES[0]:g}")
                said[name] = (value,)
            elif not _is_pair(value):
                raise ArgumentError(f"{name}={value!r}; allowed: two whole numbers of pixels, none below 0")
        avoided = said
        if "aesthetic_score" in names:  # as in diffusers, with no crop either
            uncropped = {"crops_coords_top_left": (0, 0), "aesthetic_score": said["negative_aesthetic_score"]}
            avoided = said | uncropped
        positive, negative = (np.concatenate([each[name] for name in names]) for each in (said, avoided))
        return np.tile(positive.astype(np.float32), (count, 1)), np.tile(negative.astype(np.float32), (count, 1))

    def plain(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}


def told_rows(
    told: Told, names: Sequence[str], count: int, height: int, width: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What a generator is told besides texts, with the prompts and with the negative ones; {} where it is told nothing.

    Args:
        told: what was given; of what was left out it is told the picture's own size, no crop, and `SCORES`.
        names: what it is told, in this order; its negative score where it is told a score.
        count: pictures.
        height, width: of the pictures.

    Raises:
        ArgumentError: what it is not told, a size that is not two whole numbers, or a score that is no number.
    """
    taken = {*names, *(f"negative_{name}" for name in names)}
    for name, value in told._asdict().items():
        if value is not None and name not in taken:
            raise ArgumentError(f"{name}={value!r}: this model is not told that; leave it out")
    if not names:
        return {}, {}
    positive, negative = told.rows(names, count, height, width)
    return {SIZES: positive}, {SIZES: negative}


def embedded(scale: float, width: int) -> np.ndarray:
    """A guidance scale as latent consistency models take it, float32 [width].

    Sines and cosines of 1000 (scale - 1), at wavelengths from 2 pi to 20,000 pi (Meng et al. 2023, section 3.1, and the
    embedding of variational diffusion models); an odd width ends in 0.
    """
    half = width // 2
    frequencies = np.exp(np.arange(half) * -(np.log(10_000) / (half - 1))).astype(np.float32)
    angles = np.float32((scale - 1) * 1000) * frequencies
    return np.pad(np.concatenate([np.sin(angles), np.cos(angles)]), (0, width % 2))


def fed(latents: np.ndarray, conditioning: Conditioning) -> dict[str, np.ndarray]:
    """The generator's inputs, for latents [n, C, h, w] and their conditioning; all but the timestep."""
    others = dict(conditioning)
    behind = others.pop(BEHIND, None)
    return {"sample": latents if behind is None else np.concatenate([latents, behind], axis=1), **others}


def stacked(*each: Conditioning) -> dict[str, np.ndarray]:
    """The rows of all, under each other."""
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


def _is_pair(value: Any) -> bool:
    whole = isinstance(value, list | tuple) and all(isinstance(each, int) and each >= 0 for each in value)
    return whole and len(value) == 2
