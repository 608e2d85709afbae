"""Rows of a file of jobs: an id, a prompt, and settings under the names of the pipeline's arguments."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import ArgumentError, TriptychError, nearest
from .values import VALUES

COLUMNS = ("id", *VALUES)
_NAMED = 3  # ids that an error lists; the others are counted
_NAME_BYTES = 240  # of a file's name; file systems allow 255, and temporary names are longer


@dataclass(frozen=True)
class Row:
    """One image of a file of jobs.

    `settings` are arguments of `TextToImage.__call__` as JSON values, with `image` and `mask_image` as file names. A
    row that cannot be used has a `reason`, and the values as they were read.
    """

    id: str
    settings: dict[str, Any]
    reason: str = ""

    @property
    def file(self) -> str:
        """File name of the image; `urllib.parse.unquote` gives the id."""
        name = quote(self.id, safe="")
        return (name if name[0] != "." else "%2E" + name[1:]) + ".png"

    def fingerprint(self, model_hash: str) -> str:
        """Hash of the settings and the package."""
        content = json.dumps([self.settings, model_hash], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def read(path: Path) -> list[Row]:
    """Read the rows of a .jsonl, .csv or .parquet file; an empty cell or null means the default.

    A row without a seed gets the first 32 bits of its id's SHA-256. A value that cannot be used is the row's `reason`.

    Raises:
        ArgumentError: the file cannot be read, has unknown columns, or its ids are missing, not unique or too long.
        TriptychError: the file is Parquet, and pyarrow is not installed.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ArgumentError(f"{path}: jobs are in files that end in {', '.join(_READERS)}")
    try:
        rows = [_row(f"{path}, {where}", record) for where, record in reader(path)]
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ArgumentError(f"{path} cannot be read: it is no UTF-8 text") from None
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
    if isinstance(row_id, bool) or not isinstance(row_id, int | str) or not str(row_id).isprintable() or row_id == "":
        raise ArgumentError(
            f"{where}: id is {row_id!r}; each row needs one of its own, a printable text or a whole number"
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
            settings[name] = value
            reasons.append(f"{name} is {value!r}; allowed: {allowed}")
    if "prompt" not in settings:
        reasons.append("no prompt: give a text")
    settings.setdefault("seed", seed_of(str(row_id)))
    row = Row(str(row_id), settings, "; ".join(reasons))
    if len(row.file) > _NAME_BYTES:
        raise ArgumentError(
            f"{where}: id {row.id[:20]!r}... makes a file's name of {len(row.file)} bytes; allowed: {_NAME_BYTES}"
        )
    return row


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ArgumentError(f"{path}, line {number}: no JSON: {error}") from None
            if not isinstance(record, dict):
                raise ArgumentError(f"{path}, line {number}: {type(record).__name__} where an object is needed")
            yield f"line {number}", record


def _csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            names = reader.fieldnames or ()
            if len(set(names)) < len(names):
                raise ArgumentError(f"{path}: two columns have one name: {', '.join(names)}")
            for record in reader:
                where = f"line {reader.line_num}"
                if None in record:
                    raise ArgumentError(f"{path}, {where}: more cells than the {len(names)} columns")
                yield where, {name: cell or None for name, cell in record.items()}
        except csv.Error as error:
            raise ArgumentError(f"{path}, line {reader.line_num}: no CSV: {error}") from None


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise TriptychError(f"{path}: Parquet needs triptych[parquet]: {error}") from None
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ArgumentError(f"{path} cannot be read as Parquet: {error}") from None
    with file:
        records = (record for batch in file.iter_batches() for record in batch.to_pylist())
        for number, record in enumerate(records, 1):
            yield f"row {number}", record


_READERS = {".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}
