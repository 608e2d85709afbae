"""Errors in the words of the command line: `--steps 0` where Python's argument is `num_inference_steps=0`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import click

from ..errors import TriptychError
from ..request import FIELDS
from .values import HeightAndWidth

_TEXT = r"'[^']*'|\"[^\"]*\"|`[^`]*`"
_VALUE = rf"\[[^\]]*\]|\([^)]*\)|{_TEXT}|[^\s;:,]*"
_BEFORE = r"^|\b(?:give|leave|and|takes|takes no) "
"""A name that is also a word, such as image, is an argument at the beginning of a message, after these, and after an
option and a comma."""


@contextmanager
def in_option_words(others: Mapping[str, str] | None = None) -> Iterator[None]:
    """Let errors of the block name the options of the command in progress in place of Python's arguments.

    Args:
        others: argument -> option, where an option of the command has another name than its argument.
    """
    try:
        yield
    except TriptychError as error:
        error.args = (in_words_of(click.get_current_context().command, str(error), others or {}),)
        raise


def in_words_of(command: click.Command, message: str, others: Mapping[str, str]) -> str:
    """A message with the names of a command's options; quoted text stays as it is.

    Args:
        command, others: see `in_option_words`.
        message: of an error.
    """
    options = {each.name: each for each in command.params if isinstance(each, click.Option) and each.name}
    names = {name: max(option.opts, key=len) for name, option in options.items()} | dict(others)
    pairs = {name for name, option in options.items() if isinstance(option.type, HeightAndWidth)}
    unmistakable = [name for name in names if "_" in name]
    words = [name for name in names if name in (*FIELDS, *others, "upscale")]
    for pattern in (
        rf"(?P<before>)\b(?P<name>{_any(names)})=(?P<value>{_VALUE})",
        rf"(?P<before>)\b(?P<name>{_any(unmistakable)})\b(?P<value>)",
        rf"(?P<before>{_BEFORE})(?P<name>{_any(words)})\b(?P<value>)",
        rf"(?P<before>(?<!\S)--[a-z0-9-]+, )(?P<name>{_any(words)})\b(?P<value>)",
    ):
        message = _replaced(re.compile(rf"(?:{_TEXT})|{pattern}"), names, pairs, message)
    return message


def _replaced(pattern: re.Pattern[str], names: Mapping[str, str], pairs: set[str], message: str) -> str:
    def option(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:  # quoted
            return found[0]
        value = _typed(found["value"], is_pair=name in pairs)
        return f"{found['before']}{names[name]}{f' {value}' if value else ''}"

    return pattern.sub(option, message)


def _typed(value: str, *, is_pair: bool) -> str:
    """A value as it is typed: a list with commas, a (height, width) as WIDTHxHEIGHT."""
    if value[:1] not in ("[", "("):
        return value
    parts = [part.strip().removesuffix(".0") for part in value[1:-1].split(",")]
    return f"{parts[-1]}x{parts[-2]}" if is_pair and len(parts) > 1 else ",".join(parts)


def _any(names: Iterable[str]) -> str:
    """A pattern of one of the names, longest first."""
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or r"(?!)"
