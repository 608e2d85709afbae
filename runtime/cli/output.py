"""What the command line says beside its results."""

import sys
from typing import NoReturn


def fail(message: str, status: int) -> NoReturn:
    """End the command with one line that says why."""
    say(f"error: {message}")
    sys.exit(status)


def say(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)
