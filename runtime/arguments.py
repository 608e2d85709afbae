"""What a call for pictures may be given, checked before anything is computed."""

import os
from collections.abc import Sequence

import numpy as np

from .errors import ArgumentError

SEED_LIMIT = 2**64
_DRAWN_SEED_BYTES = 4  # a seed that a person can copy by hand


def one_each(
    prompt: str | Sequence[str], negative_prompt: str | Sequence[str], repeats: int
) -> tuple[list[str], list[str]]:
    """Prompts and negative prompts, one of each for every picture, a prompt's pictures side by side.

    Raises:
        ArgumentError: no prompts, something that is no text, or as many negatives as fit neither all nor each.
    """
    for texts in (prompt, negative_prompt):
        if not isinstance(texts, Sequence):
            raise ArgumentError(f"a prompt must be text or a list of texts, not {type(texts).__name__}")
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts:
        raise ArgumentError("no prompt: the list of prompts is empty")
    negatives = [negative_prompt] * len(prompts) if isinstance(negative_prompt, str) else list(negative_prompt)
    if len(negatives) != len(prompts):
        raise ArgumentError(
            f"{len(negatives)} negative prompts for {len(prompts)} prompts; allowed: one for all, or one for each"
        )
    for text in (*prompts, *negatives):
        if not isinstance(text, str):
            raise ArgumentError(f"a prompt must be text, not {type(text).__name__}")
    if repeats < 1:
        raise ArgumentError(f"num_images_per_prompt={repeats} must be at least 1")
    return [text for text in prompts for _ in range(repeats)], [text for text in negatives for _ in range(repeats)]


def seeds_from(seed: int | None, count: int) -> list[int]:
    """Seeds of `count` pictures: seed, seed + 1, ...; None draws the first.

    Raises:
        ArgumentError: the seed is negative or has more than 64 bits.
    """
    if seed is None:
        seed = int.from_bytes(os.urandom(_DRAWN_SEED_BYTES))
    if not 0 <= seed < SEED_LIMIT:
        raise ArgumentError(f"seed={seed} is out of range; allowed: 0 to 2^64 - 1")
    return [(seed + k) % SEED_LIMIT for k in range(count)]


def check_size(name: str, pixels: int | None, own: int, factor: int, *, static: bool) -> int:
    """One side of the latents for one side of the picture.

    Args:
        name: height or width.
        pixels: the side asked for; None is the package's own.
        own: the package's own side, in latent values.
        factor: pixels to a latent value.
        static: the graphs take their own size only.

    Raises:
        ArgumentError: the side is no positive multiple of the factor, or not the one that static graphs take.
    """
    if pixels is None:
        return own
    if pixels < 1 or pixels % factor:
        raise ArgumentError(f"{name}={pixels} must be a positive multiple of {factor}")
    if static and pixels != own * factor:
        raise ArgumentError(
            f"{name}={pixels}: this package was exported with static shapes, {name}={own * factor} only"
        )
    return pixels // factor


def check_latents(latents: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The caller's starting noise as float32.

    Raises:
        ArgumentError: it is not of `shape`, or not finite.
    """
    given = np.shape(latents)
    if given != shape:
        raise ArgumentError(f"latents have shape {list(given)}; these prompts and this size need {list(shape)}")
    if not np.isfinite(latents).all():
        raise ArgumentError("latents hold NaN or infinity")
    return np.asarray(latents, np.float32)
