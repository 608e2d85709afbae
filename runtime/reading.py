"""Files that a user names, read whole within a limit."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ArgumentError, TriptychError, system_reason


def read_file(path: Path, limit: int, error: type[TriptychError] = ArgumentError) -> bytes:
    """Content of a regular file.

    Args:
        path: of the file; links are followed.
        limit: bytes that it may have.
        error: class of the error.

    Raises:
        TriptychError: of class `error`; the file is missing, not a regular file, not readable or too large.
    """
    with open_file(path, error) as file:
        content = file.read(limit + 1)
        size = os.fstat(file.fileno()).st_size
    if len(content) > limit:
        raise error(f"{path} has {max(len(content), size)} bytes; allowed: {limit}")
    return content


@contextmanager
def open_file(path: Path, error: type[TriptychError] = ArgumentError) -> Iterator[io.BufferedReader]:
    """A regular file, open for reading.

    Args:
        path: of the file; links are followed.
        error: class of the error.

    Raises:
        TriptychError: of class `error`; the file is missing, not a regular file or not readable.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe waits for a writer, and a device may have no end
            raise error(f"{path} is {kind_of(mode)}; allowed: a regular file")
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except (OSError, ValueError) as reason:  # ValueError: a name that holds a zero byte
        raise error(f"{path} cannot be read: {system_reason(reason)}") from None


def kind_of(mode: int) -> str:
    """The kind of an entry of a folder, by its mode, for messages."""
    if stat.S_ISREG(mode):
        return "a regular file"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
