"""Values on the command line: numbers, sizes, durations, files of images and latents, packages and prompts."""

import math
import os
import re
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..errors import ArgumentError, PackageError, shown
from ..image.files import read_image
from ..image.npy import read_latents
from ..package.pulled import check_not_a_name, find
from ..parsing import size_of
from ..reading import read_file
from ..request import MAX_COUNT

DEFAULT_PACKAGE = Path("models/emoji-package")

_STDIN = "-"
_MOST_BYTES = 1 << 24  # of prompts

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{0,9})?)\s*([a-zA-Z]{1,3})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


class Numbers(click.ParamType):
    """Comma-separated numbers as a list.

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
            self.fail(f"{value!r} is not a list of comma-separated numbers", param, ctx)
        return numbers[0] if self.single and len(numbers) == 1 else numbers


class HeightAndWidth(click.ParamType):
    """WIDTHxHEIGHT in pixels, or LEFTxTOP, as (height, width)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read the value, see `click.ParamType`."""
        width, height = size_of(param.opts[0] if param else "size", value)
        return height, width


class Quantity(click.ParamType):
    """A positive number and its unit, such as 10m.

    Args:
        name: of the quantity, for the help.
        units: by name, case does not matter; each in the unit of the result.
        most: largest result.
        example: of a value.
    """

    def __init__(self, name: str, units: Mapping[str, int], most: int, example: str) -> None:
        self.name, self._most = name, most
        self._units = {unit.lower(): size for unit, size in units.items()}
        largest = max(units, key=lambda unit: units[unit])
        self._allowed = (
            f"a number above 0 and its unit ({', '.join(units)}), such as {example}, up to "
            f"{most // units[largest]:,} {largest}"
        )

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the value, see `click.ParamType`; rounded up to whole units of the result."""
        found = _QUANTITY.fullmatch(str(value))
        unit = self._units.get(found[2].lower()) if found else None
        amount = math.ceil(Fraction(found[1]) * unit) if found and unit else 0
        if not 0 < amount <= self._most:
            self.fail(f"{shown(value)}; allowed: {self._allowed}", param, ctx)
        return amount


DURATION = Quantity("duration", _SECONDS, 365 * 86_400, "10m")
"""Seconds."""

SIZE = Quantity("size", _BYTES, 1024 * 2**40, "6GiB")
"""Bytes."""


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


def package_and_prompts(
    words: list[str], named: Path | None, from_image: Path | None, *, has_more: bool = False
) -> tuple[Path, list[str]]:
    """Split words into package and prompts.

    The package is `named`, or the first word if that is a folder or a pulled package, or else the default one if that
    exists. A first word that looks like a path is never a prompt.

    Args:
        words: of the command.
        named: the package by an option, or None.
        from_image: an image that has its prompt in its settings, or None.
        has_more: there are prompts besides the words.

    Raises:
        ArgumentError: no prompt, or prompts together with `from_image`.
        PackageError: no package.
    """
    package, prompts = (named, words) if named is not None else _first_word(words)
    if from_image is not None and prompts:
        raise ArgumentError("--from-image uses the prompt of the image; leave PROMPT out")
    if from_image is None and not (prompts or has_more):
        taken = f" ({words[0]!r} is a folder, and was taken as PACKAGE)" if words else ""
        raise ArgumentError(f"no prompt{taken}: triptych generate PACKAGE PROMPT...")
    if package is None:
        first = f"{words[0]} is not a folder, and " if len(words) > 1 else ""
        raise PackageError(f"no package: {first}{DEFAULT_PACKAGE} does not exist; triptych generate PACKAGE PROMPT...")
    return package, prompts


def with_lines(prompts: list[str], file: Path | None) -> list[str]:
    """Prompts, with the lines of standard input in place of a prompt of -, and the lines of a file after them.

    Raises:
        ArgumentError: standard input twice, no lines, or lines that cannot be read.
    """
    sources = [prompt for prompt in prompts if prompt == _STDIN] + [str(each) for each in (file,) if each is not None]
    if sources.count(_STDIN) > 1:
        raise ArgumentError("- is given twice; standard input can be read once")
    lines = [each for prompt in prompts for each in (_lines(prompt) if prompt == _STDIN else [prompt])]
    return lines if file is None else lines + _lines(str(file))


def _lines(name: str) -> list[str]:
    """The lines of a file, or of standard input for -, without empty ones."""
    content = sys.stdin.buffer.read(_MOST_BYTES + 1) if name == _STDIN else read_file(Path(name), _MOST_BYTES)
    place = "standard input" if name == _STDIN else name
    if len(content) > _MOST_BYTES:
        raise ArgumentError(f"{place} has more than {_MOST_BYTES} bytes of prompts")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ArgumentError(f"{place} cannot be read: it is not UTF-8 text") from None
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise ArgumentError(f"{place} has no prompts; give one on each line")
    if len(prompts) > MAX_COUNT:
        raise ArgumentError(f"{place} has {len(prompts)} prompts; allowed: {MAX_COUNT}; `triptych batch` takes more")
    return prompts


def _first_word(words: list[str]) -> tuple[Path | None, list[str]]:
    """The package, None for none, and the prompts."""
    if words and (Path(words[0]).is_dir() or find(words[0]) is not None):
        return Path(words[0]), words[1:]
    if words and _looks_like_path(words[0]):
        check_not_a_name(Path(words[0]))
        raise PackageError(f"{words[0]} does not exist, or is not a folder; a package is a folder")
    return DEFAULT_PACKAGE if DEFAULT_PACKAGE.is_dir() else None, words


def _looks_like_path(word: str) -> bool:
    """Whether a word has a separator, and is not a phrase such as "a black/white cat"."""
    separated = any(separator in word for separator in (os.sep, os.altsep) if separator)
    return separated and (not any(map(str.isspace, word)) or Path(word).parent.is_dir())
