"""Defaults of a package, read from a file of the user or of the checkpoint. Needs no PyTorch."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.runtime.errors import PackageError, SourceError, nearest
from triptych.runtime.package.defaults import NAMES, NONE_STATED, Defaults, read_defaults
from triptych.runtime.package.json_file import JsonObject, spelled
from triptych.runtime.reading import read_file

from .sources import check_file

FILE = "triptych-defaults.json"
"""File of a checkpoint folder that is read without being named."""

_CARD = "card"
_KEYS = (*NAMES, _CARD)
_READERS = {".json": json.loads, ".toml": tomllib.loads}
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class StatedDefaults:
    """Defaults for a package, and the text of its card (Markdown), or None for a generated one."""

    defaults: Defaults = NONE_STATED
    card: str | None = None


def stated_defaults(source: str | Path, file: str | Path | None) -> StatedDefaults:
    """The defaults in a file; without one, those in the `FILE` of a checkpoint folder, if it has one.

    Args:
        source: the checkpoint.
        file: JSON or TOML; the key `card` names a Markdown file, relative to the folder of this one.

    Raises:
        SourceError: the file cannot be read, has an unknown key, or a value that is not allowed.
    """
    if file is None:
        path = Path(source) / FILE
        if not path.exists():
            return StatedDefaults()
    else:
        path = Path(file)
    values = _read(path)
    for key in values:
        if key not in _KEYS:
            raise SourceError(f"{path}: unknown key {spelled(key)}; {nearest(key, _KEYS)}")
    try:
        facts = JsonObject(values, f"{path}: ")
        card = facts.optional(_CARD, str)
        return StatedDefaults(read_defaults(facts), None if card is None else _text_of(path.parent / card))
    except PackageError as error:
        raise SourceError(str(error)) from None


def _read(path: Path) -> dict[str, Any]:
    """The values in a file."""
    if path.suffix.lower() not in _READERS:
        raise SourceError(f"{path}: defaults are read from a .json or .toml file")
    try:
        values = _READERS[path.suffix.lower()](_text_of(path))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} cannot be read as {path.suffix[1:].upper()}: {error}") from None
    if not isinstance(values, dict):
        raise SourceError(f"{path} should hold a JSON object, not a {type(values).__name__}")
    return values


def _text_of(path: Path) -> str:
    check_file(path)
    try:
        return read_file(path, _MOST_BYTES, SourceError).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"{path} is not UTF-8 text") from None
