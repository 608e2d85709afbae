"""Publication of a folder, whole or not at all."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from triptych.runtime.errors import PackageError, TriptychError, system_reason
from triptych.runtime.package.package import open_package


@contextmanager
def publish(destination: Path, *, force: bool, needed_bytes: int) -> Iterator[Path]:
    """Give an empty folder, and move it to the destination when the block ends, or delete it when the block raises.

    The folder is `.NAME.partial` next to the destination, locked while its writer lives; the next writer clears the
    remains of a killed one. A package at the destination stays there until the new one is whole. Then it is
    `.NAME.previous` for the moment between two renames, and `.NAME.deleted.*` from its first missing file on: the one
    is always whole, and a later run puts it back; the other never is.

    Raises:
        TriptychError: the destination exists (and not `force`), is not a package, is being written by another process,
            cannot be written, or has less free space than `needed_bytes`.
    """
    destination = destination.absolute()
    partial, previous = (destination.with_name(f".{destination.name}.{state}") for state in ("partial", "previous"))
    with _clear_errors(destination):
        check_destination(destination, force=force)
        above = next(parent for parent in destination.parents if parent.exists())
        if not above.is_dir():
            raise TriptychError(f"{destination} cannot be written: {above} is not a folder")
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _locked(partial, destination):
            try:
                _recover(destination, previous)
                check_destination(destination, force=force)
                _check_space(destination, needed_bytes)
                yield partial
                if destination.exists():
                    destination.rename(previous)
                partial.rename(destination)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            _delete(destination, previous)


def _recover(destination: Path, previous: Path) -> None:
    """Put back a package that was replaced by a writer who was killed before the new one was in its place.

    `.NAME.replaced` is of earlier versions, which deleted it under that name: it is put back if it has all its files.
    """
    replaced = destination.with_name(f".{destination.name}.replaced")
    for folder in (previous, replaced):
        if folder.exists() and not destination.exists() and (folder == previous or _is_whole(folder)):
            folder.rename(destination)
        _delete(destination, folder)
    for remains in destination.parent.iterdir():
        if remains.name.startswith(f".{destination.name}.deleted."):
            shutil.rmtree(remains, ignore_errors=True)


def _is_whole(package: Path) -> bool:
    try:
        return not open_package(package).manifest.absent
    except PackageError:
        return False


def _delete(destination: Path, folder: Path) -> None:
    """Delete a folder, under a name from which nothing is put back."""
    remains = destination.with_name(f".{destination.name}.deleted.{os.getpid()}")
    with suppress(FileNotFoundError):
        folder.rename(remains)
        shutil.rmtree(remains, ignore_errors=True)


def check_destination(destination: Path, *, force: bool) -> None:
    """Check that a package may be written to the destination.

    Raises:
        TriptychError: there is something else, or a package (and not `force`), or its folder cannot be read.
    """
    try:
        if not destination.exists() or (destination.is_dir() and not any(destination.iterdir())):
            return
    except (OSError, ValueError) as error:
        raise TriptychError(f"{destination} cannot be read: {system_reason(error)}") from None
    if not destination.is_dir():
        raise TriptychError(f"{destination} exists and is a file; name a folder that is not there yet")
    if not any(destination.glob("*/model.onnx")):
        raise TriptychError(f"{destination} exists and is not a package; it is not replaced, name another folder")
    if not force:
        raise TriptychError(f"{destination} exists; --force replaces it once the new package is whole")


def _check_space(destination: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(destination.parent).free
    if free < needed_bytes:
        reason = f"No space left on device ({needed_bytes / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free)"
        raise OSError(errno.ENOSPC, reason)


@contextmanager
def _locked(partial: Path, destination: Path) -> Iterator[None]:
    """Hold an exclusive lock on an emptied `partial`; the system releases it when its holder dies."""
    partial.mkdir(exist_ok=True)
    handle = os.open(partial, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.fstat(handle).st_ino == partial.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            same = False
        if not same:
            raise TriptychError(f"{destination} is being written by another export; wait for it or name another folder")
        for file in partial.iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        yield
    finally:
        os.close(handle)


@contextmanager
def _clear_errors(destination: Path) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into an error of one line that names the destination."""
    try:
        yield
    except OSError as error:
        reason = system_reason(error)
        raise TriptychError(f"{destination} cannot be written: {reason}; nothing was left there") from error
