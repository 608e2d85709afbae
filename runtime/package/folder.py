"""Entries of a package's folders: regular files and folders that can be read, and nothing else."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import PackageError
from ..reading import kind_of

_LEVELS = 4  # folders within each other in a component


def entries(folder: Path) -> dict[str, os.stat_result]:
    """Name -> status of each entry of a folder, in the order of names; links are followed, broken ones left out.

    Raises:
        PackageError: the folder cannot be read, or an entry is neither a regular file nor a folder: opening a pipe
            would wait for a writer.
    """
    found = {}
    try:
        for name in sorted(os.listdir(folder)):
            try:
                status = (folder / name).stat()
            except FileNotFoundError:
                continue
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                raise PackageError(f"{folder / name} is {kind_of(status.st_mode)}; allowed: regular files and folders")
            found[name] = status
    except OSError as error:
        raise PackageError(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    return found


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder; raises as `entries`."""
    return [name for name, status in entries(folder).items() if stat.S_ISDIR(status.st_mode)]


def files_below(folder: Path, levels: int = _LEVELS) -> Iterator[os.stat_result]:
    """Status of every file in a folder and its subfolders; raises as `entries`, and if they are too deep."""
    for name, status in entries(folder).items():
        if stat.S_ISREG(status.st_mode):
            yield status
        elif levels == 1:
            raise PackageError(f"{folder / name} is more than {_LEVELS} folders deep in the package")
        else:
            yield from files_below(folder / name, levels - 1)
