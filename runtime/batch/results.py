"""A folder of pictures and a table of what became of each row, of which a kill at any moment leaves no half."""

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
from .generate import Made
from .rows import Row

TABLE = "results.jsonl"
_JOURNAL = ".results.journal"
PARTIAL = ".partial"
_TABLE_SECONDS = 2.0  # least time between two tables; longer where writing one takes long
_TABLE_SHARE = 20  # a table is written when so many times as long as the last one took has gone by


@dataclass(frozen=True)
class Result:
    """A row of the table. `file` and `sha256` are None where `status` is failed, `reason` is where it is done.

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
    """The folder, held by one process alone, which is to be left as a context.

    A picture is written under a temporary name and renamed, then a line of the journal says so; the table is written
    likewise, now and then and at the end, and the journal emptied. So the table says nothing that is not so, and what
    it does not say yet the journal does. A folder that is gone at the end was not to be kept.

    Raises:
        TriptychError: another process holds the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, order: Sequence[str]) -> None:
        self.folder, self.table = folder, folder / TABLE
        self._order = {name: place for place, name in enumerate(order)}
        self._journal = _held(folder)
        try:
            self.rows = {result.id: result for result in self._read()}
        except (ValueError, TypeError) as error:
            self._journal.close()
            raise ArgumentError(f"{self.table} was not written by `triptych batch`: {error}") from None
        for left in folder.glob(f".*{PARTIAL}"):
            left.unlink()
        self.write_table()  # which empties the journal, of half a line too

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._journal:
            if self.folder.exists():
                self.write_table()

    def forget(self, names: Iterable[str]) -> None:
        """First the table is without these rows, then the folder without their pictures."""
        forgotten = [self.rows.pop(name) for name in names if name in self.rows]
        if forgotten:
            self.write_table()
        for result in forgotten:
            if result.file is not None:
                (self.folder / result.file).unlink(missing_ok=True)

    def add(self, row: Row, made: Made, model_hash: str) -> None:
        """Keep what became of a row."""
        picture = made.picture
        if picture is None:
            (self.folder / row.file).unlink(missing_ok=True)
        self.keep(
            Result(
                id=row.id,
                status="failed" if picture is None else "done",
                reason=made.reason.encode(errors="replace").decode() or None,
                file=None if picture is None else row.file,
                seed=None if picture is None else row.settings["seed"],
                seconds=round(made.seconds, 3),
                sha256=None if picture is None else hashlib.sha256(picture).hexdigest(),
                job=row.fingerprint(model_hash),
            ),
            picture,
        )

    def keep(self, result: Result, picture: bytes | None) -> None:
        """Write the picture, then that it is there."""
        if picture is not None and result.file is not None:
            self._write(self.folder / result.file, picture)
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
        """All that is known, in the order of the jobs; others come behind."""
        return sorted(self.rows.values(), key=lambda result: self._order.get(result.id, len(self._order)))

    def write_table(self) -> None:
        """Write all that is known."""
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
        """The table, and the whole lines of the journal, which are later."""
        if self.table.exists():
            yield from (Result(**json.loads(line)) for line in self.table.read_bytes().splitlines())
        self._journal.seek(0)
        for line in self._journal.read().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield Result(**json.loads(line))


def _held(folder: Path) -> FileIO:
    """The journal of a folder, locked; the system lets go of the lock when its holder dies."""
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
