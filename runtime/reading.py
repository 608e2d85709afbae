"""Files that a user names, read whole within a limit."""

import stat
from pathlib import Path

from .errors import ArgumentError, TriptychError


def read_file(path: Path, limit: int, error: type[TriptychError] = ArgumentError) -> bytes:
    """Content of a regular file.

    Args:
        path: of the file; links are followed.
        limit: bytes that it may have.
        error: class of the error.

    Raises:
        TriptychError: of class `error`; the file is missing, not a regular file, not readable or too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe waits for a writer, and a device may have no end
            raise error(f"{path} is {_kind(status.st_mode)}; allowed: a regular file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except (OSError, ValueError) as reason:  # ValueError: a name that holds a zero byte
        raise error(f"{path} cannot be read: {getattr(reason, 'strerror', None) or reason}") from None
    if len(content) > limit:
        raise error(f"{path} has {max(len(content), status.st_size)} bytes; allowed: {limit}")
    return content


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
