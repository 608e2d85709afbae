"""Result files that are written as a whole or not at all, and the size of a folder."""

import os
import tempfile
from pathlib import Path

from triptych.runtime.errors import ArgumentError


def check_writable(path: Path) -> None:
    """Check, before anything is measured, that a result can be written.

    Raises:
        ArgumentError: the folder of `path` does not exist or cannot be written to, or `path` is a folder.
    """
    if path.is_dir():
        raise ArgumentError(f"{path} is a folder; give the name of a file")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ArgumentError(f"{path} cannot be written: {error.strerror}") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write under a temporary name, then rename: `path` has its old content or all of the new.

    Raises:
        ArgumentError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ArgumentError(f"{path} cannot be written: {error.strerror}") from None


def weight_mb(folder: Path) -> float:
    """Megabytes of the files in a folder, links not counted."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6
