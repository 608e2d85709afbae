"""A folder of images with a table of results, consistent after a kill at any moment."""

import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Self

from ..errors import ArgumentError, TriptychError
from .generate import GeneratedImage
from .rows import Row

TABLE = "results.jsonl"
_JOURNAL = ".results.journal"
PARTIAL = ".partial"
_TABLE_SECONDS = 2.0  # least time between two tables; longer where writing one takes long
_TABLE_SHARE = 20  # time between two tables, in multiples of the time that the last one took


@dataclass(frozen=True)
class Result:
    """A row of the table. `status` is done or failed; `file` and `sha256` are None if failed, `reason` is None if done.

    `job` is `Row.fingerprint`.
    """

    id: str
    status: str
    reason: str | None
    file: str | None
    seed: int | None
    seconds: float
    sha256: str | None
    job: str


class Results:
    """Context manager for the folder, which one process locks.

    An image is written under a temporary name and renamed; then a line is appended to the journal. The table is
    written in the same way from time to time and at the end, and the journal is emptied. So every row of the table is
    true, and newer rows are in the journal. If the folder was deleted in the meantime, no table is written at the end.

    Raises:
        TriptychError: another process has locked the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, order: Sequence[str]) -> None:
        self.folder, self.table = folder, folder / TABLE
        self._order = {name: place for place, name in enumerate(order)}
        self._journal = _locked_journal(folder)
        try:
            self.rows = {result.id: result for result in self._read()}
        except (ValueError, TypeError) as error:
            self._journal.close()
            raise ArgumentError(f"{self.table} was not written by `triptych batch`: {error}") from None
        for partial in folder.glob(f".*{PARTIAL}"):
            partial.unlink()
        self.write_table()  # also empties the journal, which may end in half a line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._journal:
            if self.folder.exists():
                self.write_table()

    def forget(self, names: Iterable[str]) -> None:
        """Remove rows from the table first, then delete their images."""
        forgotten = [self.rows.pop(name) for name in names if name in self.rows]
        if forgotten:
            self.write_table()
        for result in forgotten:
            if result.file is not None:
                (self.folder / result.file).unlink(missing_ok=True)

    def add(self, row: Row, image: GeneratedImage, model_hash: str) -> None:
        """Write the result of a row."""
        png = image.png
        if png is None:
            (self.folder / row.file).unlink(missing_ok=True)
        self.keep(
            Result(
                id=row.id,
                status="failed" if png is None else "done",
                reason=image.reason.encode(errors="replace").decode() or None,
                file=None if png is None else row.file,
                seed=None if png is None else row.settings["seed"],
                seconds=round(image.seconds, 3),
                sha256=None if png is None else hashlib.sha256(png).hexdigest(),
                job=row.fingerprint(model_hash),
            ),
            png,
        )

    def keep(self, result: Result, png: bytes | None) -> None:
        """Write an image, then its line of the journal."""
        if png is not None and result.file is not None:
            self._write(self.folder / result.file, png)
        self.rows[result.id] = result
        line = _line(result)
        try:
            if self._journal.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise _unwritten(self.table, error) from None
        if time.monotonic() - self._written > self._wait:
            self.write_table()

    def ordered(self) -> list[Result]:
        """All results in the order of the jobs; results of other rows follow."""
        return sorted(self.rows.values(), key=lambda result: self._order.get(result.id, len(self._order)))

    def write_table(self) -> None:
        """Write the table and empty the journal."""
        start = time.monotonic()
        self._write(self.table, b"".join(_line(result) for result in self.ordered()))
        self._journal.truncate(0)
        self._written = time.monotonic()
        self._wait = max(_TABLE_SECONDS, _TABLE_SHARE * (self._written - start))

    def _write(self, path: Path, content: bytes) -> None:
        partial = path.with_name(f".{path.name}{PARTIAL}")
        try:
            partial.write_bytes(content)
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise _unwritten(path, error) from None

    def _read(self) -> Iterator[Result]:
        """Results of the table, then those of the complete lines of the journal, which are newer."""
        if self.table.exists():
            yield from (Result(**json.loads(line)) for line in self.table.read_bytes().splitlines())
        self._journal.seek(0)
        for line in self._journal.read().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield Result(**json.loads(line))


def _locked_journal(folder: Path) -> FileIO:
    """The journal of a folder, locked; the system releases the lock when the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not any((folder / name).exists() for name in (TABLE, _JOURNAL)):
            raise ArgumentError(f"{folder} holds other things and no {TABLE}: name another folder")
        journal = FileIO(folder / _JOURNAL, "a+")
    except OSError as error:
        raise _unwritten(folder, error) from None
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        journal.close()
        raise TriptychError(f"{folder} is being written by another batch; wait for it or name another") from None
    return journal


def _unwritten(path: Path, error: OSError) -> TriptychError:
    return TriptychError(f"{path} cannot be written: {error.strerror}; what is done is kept")


def _line(result: Result) -> bytes:
    return json.dumps(vars(result)).encode() + b"\n"
