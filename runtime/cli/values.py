"""Values on the command line: numbers, sizes, files of images and latents, packages and prompts."""

import re
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..errors import ArgumentError
from ..image.files import read_image
from ..image.npy import read_latents
from ..parsing import size_of

DEFAULT_PACKAGE = Path("models/emoji-package")

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


class Numbers(click.ParamType):
    """Numbers with commas between them, as a list.

    Args:
        single: a single number is returned as a number, not as a list.
        names: a text without a comma may be a name.
    """

    name = "numbers"

    def __init__(self, *, single: bool = False, names: bool = False) -> None:
        self.single, self.names = single, names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the value, see `click.ParamType`."""
        if not isinstance(value, str):  # a default
            return value
        try:
            numbers = [float(part) for part in value.split(",")]
        except ValueError:
            if self.names and "," not in value:
                return value
            self.fail(f"{value!r} is not numbers with commas between them", param, ctx)
        return numbers[0] if self.single and len(numbers) == 1 else numbers


class HeightAndWidth(click.ParamType):
    """WIDTHxHEIGHT in pixels, or LEFTxTOP, as (height, width)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read the value, see `click.ParamType`."""
        width, height = size_of(param.opts[0] if param else "size", value)
        return height, width


class ImageFile(click.ParamType):
    """A file, as a Pillow image."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the file, see `click.ParamType`."""
        return read_image(Path(value))


class LatentsFile(click.ParamType):
    """A .npy file, as latents float32 [n, C, h, w]."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> np.ndarray:
        """Read the file, see `click.ParamType`."""
        return read_latents(Path(value))


def weighted(text: str) -> tuple[str, float]:
    """The text before the last colon, and the number after it; without a number, the whole text and 1.

    A colon may be part of a name, as in a Windows path.
    """
    name, colon, weight = text.rpartition(":")
    return (name, float(weight)) if colon and _NUMBER.fullmatch(weight) else (text, 1.0)


def package_and_prompts(words: list[str], from_image: Path | None) -> tuple[Path, list[str]]:
    """Split words into package and prompts: the package is first, and optional where the default one exists.

    Raises:
        ArgumentError: no prompt, no package, or prompts together with an image that has its own.
    """
    named = len(words) > 1 or from_image is not None or (words and Path(words[0]).is_dir())
    package, prompts = (Path(words[0]), words[1:]) if words and named else (DEFAULT_PACKAGE, words)
    if from_image is not None and prompts:
        raise ArgumentError("--from-image uses the prompt of the image; leave PROMPT out")
    if from_image is None and not prompts:
        raise ArgumentError("no prompt: triptych generate PACKAGE PROMPT...")
    if package == DEFAULT_PACKAGE and not package.is_dir():
        raise ArgumentError(f"no package, and {DEFAULT_PACKAGE} does not exist: triptych generate PACKAGE PROMPT...")
    return package, prompts
