"""Pictures in one file of Parquet, each beside what the table of results says of it."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ArgumentError
from .results import PARTIAL, Result

_PICTURE = "picture"
_GROUP = 64  # pictures in a row group: so many are in memory
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("file", pa.string()),
        ("seed", pa.uint64()),
        ("seconds", pa.float64()),
        ("sha256", pa.string()),
        ("job", pa.string()),
        (_PICTURE, pa.binary()),  # PNG
    ]
)


def kept(path: Path, *, pictures: bool) -> Iterator[tuple[Result, bytes | None]]:
    """What `join` wrote; without `pictures` they are not read, and None.

    Raises:
        ArgumentError: it is no Parquet file, or something else wrote it.
    """
    names = [field.name for field in fields(Result)]
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ArgumentError(f"{path} cannot be read as Parquet: {error}") from None
    with file:
        if file.schema_arrow.names != _SCHEMA.names:
            raise ArgumentError(f"{path} exists and was not written by `triptych batch`: name another file")
        for batch in file.iter_batches(_GROUP, columns=[*names, _PICTURE] if pictures else names):
            for record in batch.to_pylist():
                picture = record.pop(_PICTURE, None)
                yield Result(**record), picture


def join(results: Sequence[Result], folder: Path, path: Path) -> None:
    """Write the table with the pictures of `folder` in it; a file that is there is replaced once the new one is whole.

    Raises:
        ArgumentError: it cannot be written.
    """
    partial = folder / f".{path.name}{PARTIAL}"  # the next `Results` clears what a kill leaves of it
    try:
        with pq.ParquetWriter(partial, _SCHEMA) as writer:
            for start in range(0, len(results), _GROUP):
                rows = [
                    vars(result) | {_PICTURE: None if result.file is None else (folder / result.file).read_bytes()}
                    for result in results[start : start + _GROUP]
                ]
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ArgumentError(f"{path} cannot be written: {error.strerror or error}") from None
