"""Records of a file of jobs, in the layouts that people and programs write: JSON lines, CSV, Parquet."""

import codecs
import csv
import io
import json
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..extras import needed
from ..reading import read_file

Record = dict[str, Any]

FILE_BYTES = 1 << 30
"""Limit of a file of jobs, all rows of which are in memory together."""

_DELIMITERS = ",;\t"
_MISSING = {"", "NaN", "nan", "NA", "<NA>"}
"""Cells of CSV without a value, as pandas writes them and as it reads them."""

_ENCODINGS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Byte order mark -> encoding; a file without one is UTF-8."""


def records_of(path: Path, columns: Collection[str]) -> Iterator[tuple[str, Record]]:
    """Place and values of each row, which is not empty; None stands for a missing value.

    Args:
        path: file that ends in .jsonl, .csv or .parquet.
        columns: known names, by which the delimiter of CSV is found.

    Raises:
        ArgumentError: the file cannot be read.
        TriptychError: the file is Parquet, and pyarrow is not installed.
    """
    kind = path.suffix.lower()
    if kind not in (".jsonl", ".csv", ".parquet"):
        raise ArgumentError(f"{path}: jobs are in files that end in .jsonl, .csv, .parquet")
    content = read_file(path, FILE_BYTES)
    if kind == ".parquet":
        records = _parquet(path, content)
    elif kind == ".csv":
        records = _csv(path, _text(path, content), columns)
    else:
        records = _json_lines(path, _text(path, content))
    for where, record in records:
        yield where, {name: None if _is_nan(value) else value for name, value in record.items()}


def _text(path: Path, content: bytes) -> str:
    encoding = _ENCODINGS.get(content[:2], "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise ArgumentError(
            f"{path} cannot be read: it is not UTF-8 text; allowed: UTF-8, or UTF-16 with a byte order mark"
        ) from None


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, Record]]:
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ArgumentError(f"{path}, line {number}: no JSON: {error}") from None
        except RecursionError:
            raise ArgumentError(f"{path}, line {number}: no JSON: nested too deeply") from None
        if not isinstance(record, dict):
            raise ArgumentError(f"{path}, line {number}: {type(record).__name__} where an object is needed")
        yield f"line {number}", record


def _csv(path: Path, text: str, columns: Collection[str]) -> Iterator[tuple[str, Record]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, columns), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        named = [name for name in names if name]
        if len(set(named)) < len(named):
            raise ArgumentError(f"{path}: two columns have one name: {', '.join(named)}")
        for cells in reader:
            where = f"line {reader.line_num}"
            beyond = [cell for cell in cells[len(names) :] if cell]
            if beyond:
                raise ArgumentError(f"{path}, {where}: more cells than the {len(names)} columns")
            pairs = [*zip(names, cells, strict=False)]
            unnamed = [cell for name, cell in pairs if cell and not name]
            if unnamed:
                raise ArgumentError(f"{path}, {where}: {unnamed[0][:20]!r} is in a column without a name")
            record = {name: None if _is_missing(name, cell) else cell for name, cell in pairs if name}
            if any(cells):
                yield where, record
    except csv.Error as error:
        raise ArgumentError(f"{path}, line {reader.line_num}: no CSV: {error}") from None


def _delimiter(text: str, columns: Collection[str]) -> str:
    """Delimiter that splits the header into the most known columns; where the comma is the decimal sign it is ;."""
    header = text.lstrip("\r\n").splitlines()[:1] or [""]

    def known(delimiter: str) -> int:
        return sum(cell.strip(' "') in columns for cell in header[0].split(delimiter))

    return max(_DELIMITERS, key=known)


def _is_missing(name: str, cell: str) -> bool:
    return cell == "" if name == "id" else cell in _MISSING


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _parquet(path: Path, content: bytes) -> Iterator[tuple[str, Record]]:
    with needed("parquet", str(path)):
        import pyarrow as pa
        import pyarrow.parquet as pq
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise ArgumentError(f"{path}: two columns have one name: {', '.join(names)}")
            records = [record for batch in file.iter_batches() for record in batch.to_pylist()]
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ArgumentError(f"{path} cannot be read as Parquet: {reason}") from None
    yield from ((f"row {number}", record) for number, record in enumerate(records, 1))
