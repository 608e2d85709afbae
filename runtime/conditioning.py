"""What the latent generator is conditioned on, by the names of its inputs: texts, sizes, and guidance."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import ArgumentError

Conditioning = Mapping[str, np.ndarray]
"""Float32 arrays [n, ...] by the names of the generator's inputs, a row for each picture."""

TEXT = "encoder_hidden_states"
"""[n, tokens, width]: what the texts say, word by word."""
POOLED = "text_embeds"
"""[n, width]: what they say as a whole."""
SIZES = "time_ids"
"""[n, 6]: see `Sizes`."""
GUIDANCE = "timestep_cond"
"""[n, width]: the guidance scale, where the generator was trained to take it (latent consistency models)."""
BEHIND = "behind"
"""[n, K, h, w]: no input of its own, but channels that the generator takes behind the latents; of an inpainting model,
a mask and the latents of the picture without what that covers; of one that edits, the picture's, not scaled."""


class Sizes(NamedTuple):
    """What SDXL is told of the size of a picture, each (height, width) or (top, left) in pixels.

    Source: Podell et al. 2023, section 2.2: the size of the picture before it was scaled for training, the corner
    where it was cropped, and the size that is wanted.
    """

    original_size: Sequence[int] | None = None
    crops_coords_top_left: Sequence[int] | None = None
    target_size: Sequence[int] | None = None

    def rows(self, count: int, height: int, width: int) -> np.ndarray:
        """float32 [count, 6] for pictures of height x width; what was left out is their own size, and no crop.

        Raises:
            ArgumentError: one that is not two whole numbers.
        """
        own = {"original_size": (height, width), "crops_coords_top_left": (0, 0), "target_size": (height, width)}
        said = {name: own[name] if value is None else value for name, value in self._asdict().items()}
        for name, value in said.items():
            if not _is_pair(value):
                raise ArgumentError(f"{name}={value!r}; allowed: two whole numbers of pixels, none below 0")
        return np.tile(np.concatenate(list(said.values())).astype(np.float32), (count, 1))

    def plain(self) -> dict[str, Any]:
        """The sizes as JSON has them."""
        return {name: None if value is None else list(value) for name, value in self._asdict().items()}


def told_sizes(sizes: Sizes, inputs: Container[str], count: int, height: int, width: int) -> dict[str, np.ndarray]:
    """The rows of the sizes, see `Sizes.rows`, for a generator with these inputs; nothing for one that is told none.

    Raises:
        ArgumentError: a size for a generator that is told none, or that is not two whole numbers.
    """
    if SIZES in inputs:
        return {SIZES: sizes.rows(count, height, width)}
    for name, value in sizes._asdict().items():
        if value is not None:
            raise ArgumentError(f"{name}={value!r}: this model is not told sizes; leave it out")
    return {}


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
