"""One Parquet file that holds the images together with the table of results."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ArgumentError, system_reason
from .results import PARTIAL, Result

_PNG = "picture"
_GROUP = 64  # images in a row group, which are in memory together
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
        (_PNG, pa.binary()),  # PNG
    ]
)


def read(path: Path, *, images: bool) -> Iterator[tuple[Result, bytes | None]]:
    """Read a file of `join`: results and PNGs; without `images` each PNG is None.

    Raises:
        ArgumentError: the file is not Parquet, or was not written by `join`.
    """
    names = [field.name for field in fields(Result)]
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ArgumentError(f"{path} cannot be read as Parquet: {error}") from None
    with file:
        if file.schema_arrow.names != _SCHEMA.names:
            raise ArgumentError(f"{path} exists and was not written by `triptych batch`: name another file")
        for batch in file.iter_batches(_GROUP, columns=[*names, _PNG] if images else names):
            for record in batch.to_pylist():
                png = record.pop(_PNG, None)
                yield Result(**record), png


def join(results: Sequence[Result], folder: Path, path: Path) -> None:
    """Write the table with the images of `folder`; an existing file is replaced when the new one is complete.

    Raises:
        ArgumentError: the file cannot be written.
    """
    partial = folder / f".{path.name}{PARTIAL}"  # the next `Results` deletes it after a kill
    try:
        with pq.ParquetWriter(partial, _SCHEMA) as writer:
            for start in range(0, len(results), _GROUP):
                rows = [
                    vars(result) | {_PNG: None if result.file is None else (folder / result.file).read_bytes()}
                    for result in results[start : start + _GROUP]
                ]
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ArgumentError(f"{path} cannot be written: {system_reason(error)}") from None
