"""What is written on the command line, as values of Python."""

import re
from pathlib import Path
from typing import Any

import click

from ..errors import ArgumentError

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


def weighted(text: str) -> tuple[str, float]:
    """What stands before the last colon, and the number after it; all of it and 1 where no number is there.

    A colon may be part of a name, as in a path of Windows.
    """
    name, colon, weight = text.rpartition(":")
    return (name, float(weight)) if colon and _NUMBER.fullmatch(weight) else (text, 1.0)


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
