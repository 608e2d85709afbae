"""Output on stdout and stderr, whatever they are connected to."""

import errno
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import NoReturn, TextIO

INTERRUPTED = 130
"""The exit status that shells report for a command stopped by Ctrl-C."""


def open_streams() -> None:
    """Open stdout and stderr where they are closed, and let them escape the characters that their encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  open until the process ends
        elif isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def flush_stdout() -> None:
    """Write what stdout still holds; exit where it cannot be written, in silence where its reader has gone."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if error.errno == errno.EPIPE:
            sys.exit(1)
        fail(f"the output cannot be written: {error.strerror}", 2)


def fail(message: str, status: int) -> NoReturn:
    """Print an error on one line, and exit."""
    print_line(f"error: {message}")
    sys.exit(status)


def print_status(line: str) -> None:
    """Print a line on progress or results on stderr, unless the command has --quiet."""
    from .flags import is_quiet  # click is imported where Ctrl-C is one line

    if not is_quiet():
        print_line(line)


def print_line(line: str) -> None:
    """Print a line on stderr."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # there is nowhere left to report it
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Let the stream end in the null device: the interpreter flushes it at its end, and prints an error."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
