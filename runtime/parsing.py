"""Parsing of text values: sizes, and files of lines."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import ArgumentError

_WORDS = {"true": True, "false": False, "null": None, "none": None}


def size_of(option: str, text: str) -> tuple[int, int]:
    """Width and height in pixels of a text like 512x512.

    Args:
        option: name for the error.
        text: WIDTHxHEIGHT.

    Raises:
        ArgumentError: the text has another form.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ArgumentError(f"{option} {text}: give WIDTHxHEIGHT in pixels, for example 512x512")
    return int(width), int(height)


def pairs_of(option: str, texts: Iterable[str]) -> dict[str, str]:
    """Values by key of texts like KEY=VALUE.

    Args:
        option: name for the error.
        texts: KEY=VALUE.

    Raises:
        ArgumentError: a text has another form, or a key is given twice with different values.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ArgumentError(f"{option} {text!r}: give KEY=VALUE")
        if pairs.setdefault(key, value) != value:
            raise ArgumentError(f"{option} {text!r}: {key} is given twice, before as {pairs[key]}")
    return pairs


def value_of(text: str) -> Any:
    """Value of a text: true, false, null, a number or a list as in JSON, in capitals too; else the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def lines_of(file: Path) -> list[str]:
    """The lines of a text file, without empty ones.

    Raises:
        ArgumentError: the file cannot be read as text.
    """
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise ArgumentError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ArgumentError(f"{file} cannot be read: it is not UTF-8 text") from None
