"""One line on stderr with the stage of long work and its seconds, if stderr is a terminal."""

import sys
import threading
import time
from types import TracebackType
from typing import Self

from .flags import is_quiet
from .output import print_status

_CLEAR = "\r\x1b[K"  # to the beginning of the line, and erase it
_EVERY = 1.0  # seconds


class StageLine:
    """The line, shown inside a `with` block; nothing is written if stderr is not a terminal, or with --quiet."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty() and not is_quiet()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._stage, self._start = "", time.monotonic()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        if self._is_shown:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        if self._is_shown:
            self._thread.join()
            with self._lock:
                self._write(_CLEAR)

    def show(self, stage: str) -> None:
        """Show another stage, from 0 seconds."""
        with self._lock:
            self._stage, self._start = stage, time.monotonic()
            self._draw()

    def report(self, line: str) -> None:
        """Print a line that stays, above this one."""
        with self._lock:
            self._write(_CLEAR)
            print_status(line)
            self._draw()

    def _tick(self) -> None:
        while not self._ended.wait(_EVERY):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        if self._stage:
            self._write(f"{_CLEAR}{self._stage}, {time.monotonic() - self._start:.0f} s")

    def _write(self, text: str) -> None:
        if self._is_shown:
            sys.stderr.write(text)
            sys.stderr.flush()
