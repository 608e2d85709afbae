"""Parsing of text values: sizes, and files of lines."""

from pathlib import Path

from .errors import ArgumentError


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
