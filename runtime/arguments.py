"""What a call for pictures may be given, checked before anything is computed."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import ArgumentError

SEED_LIMIT = 2**64
_DRAWN_SEED_BYTES = 4  # a seed that a person can copy by hand


class Texts(NamedTuple):
    """The texts of one picture, by the names of the arguments; None is what was not given."""

    prompt: str
    prompt_2: str | None
    negative_prompt: str | None
    negative_prompt_2: str | None

    def positive(self, encoders: int) -> tuple[str, ...]:
        """A text for each encoder: `prompt` serves all that have none of their own."""
        return _each(self.prompt, self.prompt_2, encoders)

    def negative(self, encoders: int) -> tuple[str, ...] | None:
        """The same of what to avoid; None where nothing is said of that at all."""
        if self.negative_prompt is None and self.negative_prompt_2 is None:
            return None
        return _each(self.negative_prompt or "", self.negative_prompt_2, encoders)


def _each(first: str, second: str | None, encoders: int) -> tuple[str, ...]:
    return (first, *(first if second is None else second for _ in range(encoders - 1)))


def texts_of(given: Mapping[str, Any], repeats: int, encoders: int) -> list[Texts]:
    """The texts of every picture, a prompt's pictures side by side.

    Args:
        given: the arguments by the names of `Texts`: one text, or several.
        repeats: pictures for each prompt.
        encoders: of the package; a second prompt is for its second one.

    Raises:
        ArgumentError: no prompts, something that is no text, as many of another kind as fit neither all nor each, or a
            second prompt where there is one encoder.
    """
    columns = {name: _listed(name, value) for name, value in given.items()}
    prompts = columns["prompt"]
    if prompts == [None]:
        raise ArgumentError("no prompt: give a text")
    if not prompts:
        raise ArgumentError("no prompt: the list of prompts is empty")
    for name, column in columns.items():
        if name.endswith("_2") and encoders == 1 and column != [None]:
            raise ArgumentError(f"{name}: this package has one text encoder, which reads {name.removesuffix('_2')}")
        if given[name] is None or isinstance(given[name], str):
            columns[name] = column * len(prompts)
        elif len(column) != len(prompts):
            raise ArgumentError(
                f"{name} has {len(column)} texts for {len(prompts)} prompts; allowed: one for all, or one for each"
            )
    if repeats < 1:
        raise ArgumentError(f"num_images_per_prompt={repeats} must be at least 1")
    rows = [Texts(*row) for row in zip(*(columns[name] for name in Texts._fields), strict=True)]
    return [row for row in rows for _ in range(repeats)]


def _listed(name: str, value: Any) -> list[str | None]:
    if value is None or isinstance(value, str):
        return [value]
    if not isinstance(value, Sequence):
        raise ArgumentError(f"{name} must be text or a list of texts, not {type(value).__name__}")
    for text in value:
        if not isinstance(text, str):
            raise ArgumentError(f"{name} must be text, not {type(text).__name__}")
    return list(value)


def seeds_from(seed: int | Sequence[int] | None, count: int) -> list[int]:
    """Seeds of `count` pictures: seed, seed + 1, ..., or one for each; None draws the first.

    Raises:
        ArgumentError: a seed is negative or has more than 64 bits, or there are as many as fit no `count` pictures.
    """
    if seed is None:
        seed = int.from_bytes(os.urandom(_DRAWN_SEED_BYTES))
    seeds = list(seed) if isinstance(seed, Sequence) else [seed]
    for each in seeds:
        if not 0 <= each < SEED_LIMIT:
            raise ArgumentError(f"seed={each} is out of range; allowed: 0 to 2^64 - 1")
    if not isinstance(seed, Sequence):
        return [(seed + k) % SEED_LIMIT for k in range(count)]
    if len(seeds) != count:
        raise ArgumentError(f"seed has {len(seeds)} seeds for {count} pictures; allowed: one for each, or the first")
    return seeds


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


def check_latents(latents: np.ndarray, shape: tuple[int, ...], name: str = "latents") -> np.ndarray:
    """The caller's starting noise, or the latents that are given as another argument, as float32.

    Raises:
        ArgumentError: it is not of `shape`, or not finite.
    """
    given = np.shape(latents)
    if given != shape:
        raise ArgumentError(f"{name} have shape {list(given)}; these prompts and this size need {list(shape)}")
    if not np.isfinite(latents).all():
        raise ArgumentError(f"{name} hold NaN or infinity")
    return np.asarray(latents, np.float32)


def size_of(option: str, text: str) -> tuple[int, int]:
    """Width and height in pixels, of the option by that name.

    Raises:
        ArgumentError: it is no WIDTHxHEIGHT.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ArgumentError(f"{option} {text}: give WIDTHxHEIGHT in pixels, such as 512x512")
    return int(width), int(height)


def lines_of(file: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        ArgumentError: it cannot be read as text.
    """
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise ArgumentError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ArgumentError(f"{file} cannot be read: it is no UTF-8 text") from None
