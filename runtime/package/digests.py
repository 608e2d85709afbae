"""Digests of a package's files, computed once for each file and remembered in the user's cache folder.

A file is known by its path, size, inode, and the times of its last change, in nanoseconds. The cache is a help, never
needed: one that cannot be written or read is as good as none.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import PackageError
from ..reading import open_file, read_file
from .user_cache import user_cache

_CACHE_LIMIT = 1 << 20
_SETTLED = 50_000_000  # nanoseconds: a file changed again within one tick of the clock would have the same times


def digest_of(path: Path) -> str:
    """The sha256 of a file, as 64 hexadecimal digits.

    Raises:
        PackageError: the file cannot be read.
    """
    with open_file(path, PackageError) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The sha256 of files, computed for those that are new or changed since the last time.

    Args:
        folder: of the package.
        names: paths relative to it.

    Returns:
        Name -> 64 hexadecimal digits.

    Raises:
        PackageError: a file cannot be read.
    """
    cache = _cache_file(folder)
    known = _read(cache)
    digests, records = {}, {}
    for name in names:
        key = _key(folder / name)
        record = known.get(name)
        if isinstance(record, list) and record[:-1] == key and isinstance(record[-1], str):
            digests[name] = record[-1]
        else:
            digests[name] = digest_of(folder / name)
        if key == _key(folder / name) and time.time_ns() - max(key[2:]) > _SETTLED:
            records[name] = [*key, digests[name]]
    if records != known:
        _write(cache, records)
    return digests


def _key(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}") from None
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _cache_file(folder: Path) -> Path:
    """The file of a package's digests: one for each place, so that no two packages write to one."""
    place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return user_cache() / "digests" / f"{place}.json"


def _read(cache: Path) -> dict[str, Any]:
    try:
        known = json.loads(read_file(cache, _CACHE_LIMIT, PackageError))
    except (PackageError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(cache: Path, records: dict[str, list[Any]]) -> None:
    """Write the cache whole or not at all."""
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        for left in cache.parent.glob(f"{cache.stem}.*.part"):  # of a process that was killed
            left.unlink()
        descriptor, partial = tempfile.mkstemp(dir=cache.parent, prefix=f"{cache.stem}.", suffix=".part")
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(records, file)
            os.replace(partial, cache)
        except OSError:
            os.unlink(partial)
