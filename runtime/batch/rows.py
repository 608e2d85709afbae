"""Rows of a file of jobs: an id, a prompt, and settings under the names of the pipeline's arguments."""

import hashlib
import json
import re
import reprlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import ArgumentError, nearest
from .job_files import records_of
from .values import VALUES

COLUMNS = ("id", *VALUES)
_SUFFIX = ".png"
_NAMED = 3  # ids that an error lists; the others are counted
_NAME_BYTES = 240  # of a file's name; file systems allow 255, and temporary names are longer
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode's controls, halves of surrogate pairs, line and paragraph separators


@dataclass(frozen=True)
class Row:
    """One image of a file of jobs.

    `settings` are arguments of `TextToImage.__call__` as JSON values, with `image` and `mask_image` as file names. A
    row that cannot be used has a `reason`, and texts of the values that were read.
    """

    id: str
    settings: dict[str, Any]
    reason: str = ""

    @property
    def file(self) -> str:
        """File name of the image, of at most 240 bytes of ASCII; names of different ids differ.

        `urllib.parse.unquote` gives the id. The name of a long id is its beginning, = (which is quoted elsewhere), and
        the SHA-256 of the id.
        """
        name = quote(self.id, safe="")
        name = name if name[0] != "." else "%2E" + name[1:]
        if len(name) > _NAME_BYTES - len(_SUFFIX):
            digest = hashlib.sha256(self.id.encode()).hexdigest()
            room = _NAME_BYTES - len(f"={digest}{_SUFFIX}")
            name = f"{re.sub('%.?$', '', name[:room])}={digest}"
        return name + _SUFFIX

    def fingerprint(self, model_hash: str) -> str:
        """Hash of the settings and the package."""
        content = json.dumps([self.settings, model_hash], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def read(path: Path) -> list[Row]:
    """Read the rows of a .jsonl, .csv or .parquet file; an empty cell, null or NaN means the default.

    A row without a seed gets the first 32 bits of its id's SHA-256. A value that cannot be used is the row's `reason`.

    Raises:
        ArgumentError: the file cannot be read, has unknown columns, or its ids are missing or not unique.
        TriptychError: the file is Parquet, and pyarrow is not installed.
    """
    rows = [_row(f"{path}, {where}", record) for where, record in records_of(path, COLUMNS)]
    if not rows:
        raise ArgumentError(f"{path} has no rows")
    seen: set[str] = set()
    twice = [row.id for row in rows if row.id in seen or seen.add(row.id)]  # type: ignore[func-returns-value]
    if twice:
        raise ArgumentError(f"{path}: ids must be unique; more than once: {listed(list(dict.fromkeys(twice)))}")
    return rows


def seed_of(name: str) -> int:
    """Seed of a row without one."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])


def listed(names: list[str]) -> str:
    """The first names, and the number of the others."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(repr(name) for name in names[:_NAMED]) + more


def _row(where: str, record: dict[str, Any]) -> Row:
    for name in record:
        if name not in COLUMNS:
            raise ArgumentError(f"{where}: unknown column {name!r}; {nearest(str(name), COLUMNS)}")
    row_id = record.get("id")
    if isinstance(row_id, bool) or not isinstance(row_id, int | str) or not _is_printable(str(row_id)):
        raise ArgumentError(
            f"{where}: id is {reprlib.repr(row_id)}; each row needs one of its own, a printable text or a whole number"
        )
    settings: dict[str, Any] = {}
    reasons = []
    for name, value in record.items():
        if name == "id" or value is None:
            continue
        convert, allowed = VALUES[name]
        try:
            settings[name] = convert(value)
        except (ValueError, TypeError, OverflowError):
            settings[name] = reprlib.repr(value)
            reasons.append(f"{name} is {settings[name]}; allowed: {allowed}")
    if "prompt" not in settings:
        reasons.append("no prompt: give a text")
    settings.setdefault("seed", seed_of(str(row_id)))
    if settings.get("variation_strength"):
        settings.setdefault("variation_seed", seed_of(f"{row_id}, variation"))
    return Row(str(row_id), settings, "; ".join(reasons))


def _is_printable(text: str) -> bool:
    """Whether an id is a line of text; parts of emoji and wide spaces are, which `str.isprintable` refuses."""
    return text != "" and not any(unicodedata.category(each) in _UNPRINTABLE for each in text)
