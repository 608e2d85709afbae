"""Lines on stderr."""

import sys
from typing import NoReturn


def fail(message: str, status: int) -> NoReturn:
    """Print an error on one line, and exit."""
    print_status(f"error: {message}")
    sys.exit(status)


def print_status(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr, flush=True)
