"""Lines on stderr."""

import sys
from typing import NoReturn


def fail(message: str, status: int) -> NoReturn:
    """Print one line with the reason, and exit."""
    say(f"error: {message}")
    sys.exit(status)


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr, flush=True)
