"""What is written on the command line, as values of Python."""

import re
from pathlib import Path
from typing import Any

import click

from .errors import ArgumentError

DEFAULT_PACKAGE = Path("models/emoji-package")

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


class Numbers(click.ParamType):
    """Numbers with commas between them, as a list; only one is itself where `single`, text a name where `names`."""

    name = "numbers"

    def __init__(self, *, single: bool = False, names: bool = False) -> None:
        self.single, self.names = single, names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of an option, as click asks for it."""
        if not isinstance(value, str):  # a default
            return value
        try:
            numbers = [float(part) for part in value.split(",")]
        except ValueError:
            if self.names and "," not in value:
                return value
            self.fail(f"{value!r} is not numbers with commas between them", param, ctx)
        return numbers[0] if self.single and len(numbers) == 1 else numbers


def size_of(option: str, text: str) -> tuple[int, int]:
    """Width and height in pixels, of the option by that name.

    Raises:
        ArgumentError: it is no WIDTHxHEIGHT.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ArgumentError(f"{option} {text}: give WIDTHxHEIGHT in pixels, such as 512x512")
    return int(width), int(height)


def weighted(text: str) -> tuple[str, float]:
    """What stands before the last colon, and the number after it; all of it and 1 where no number is there.

    A colon may be part of a name, as in a path of Windows.
    """
    name, colon, weight = text.rpartition(":")
    return (name, float(weight)) if colon and _NUMBER.fullmatch(weight) else (text, 1.0)


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


def package_and_prompts(words: list[str], from_image: Path | None) -> tuple[Path, list[str]]:
    """Tell the package from the prompts: it comes first, and may be left out where the default one exists.

    Raises:
        ArgumentError: no prompt, no package, or prompts beside a picture that brings its own.
    """
    named = len(words) > 1 or from_image is not None or (words and Path(words[0]).is_dir())
    package, prompts = (Path(words[0]), words[1:]) if words and named else (DEFAULT_PACKAGE, words)
    if from_image is not None and prompts:
        raise ArgumentError("--from-image brings its own prompt; leave PROMPT out")
    if from_image is None and not prompts:
        raise ArgumentError("no prompt given: triptych generate PACKAGE PROMPT...")
    if package == DEFAULT_PACKAGE and not package.is_dir():
        raise ArgumentError(f"no package given, and there is no {DEFAULT_PACKAGE}: triptych generate PACKAGE PROMPT...")
    return package, prompts
