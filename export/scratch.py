"""Temporary folders; those of a killed export are cleared by the next one."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "triptych-export-"
_NEW_SECONDS = 60.0  # a folder that is younger may be about to be locked


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder, which is locked while its process lives, and deleted when the block ends."""
    _clear(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        handle = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(handle)


def _clear(parent: Path) -> None:
    """Delete the folders whose processes are dead."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # of another user, locked, or gone meanwhile
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(handle).st_mtime > _NEW_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
