"""The log of a server process: lines of bounded length and number, and its privacy settings."""

import logging
import math
import re
import sys
import time
import warnings
from collections.abc import Callable

from ..errors import PromptWarning

LINE = 500
"""Characters of a line at most; requests decide what is in it."""

_TRACEBACK_LINES = 60
_REPEAT_SECONDS = 10.0  # in which equal lines are counted in place of written
_MOST_REMEMBERED = 256  # lines
_SECRET = re.compile(r"(?<=/v1/images/files/)[0-9a-f]+")  # who knows the name of a kept image sees it
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def set_up_log() -> None:
    """Write log and warnings of this process to stderr, in bounded lines; for server processes only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(BoundedLines(_FORMAT))
    handler.addFilter(Repeats())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}"
    logging.captureWarnings(True)


def hide_prompts() -> None:
    """Silence the warnings that quote a prompt, for the rest of this process; for server processes only."""
    warnings.simplefilter("ignore", PromptWarning)


class BoundedLines(logging.Formatter):
    """Formatter of one line of at most `LINE` printable characters for each message, and for each of a traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """Format the message of a record, see `logging.Formatter`."""
        return _SECRET.sub("...", bounded(super().formatMessage(record)))

    def formatException(self, ei: object) -> str:  # noqa: N802  logging's name
        """Format a traceback, see `logging.Formatter`; indented, so that none of its lines looks like a message."""
        lines = super().formatException(ei).splitlines()  # type: ignore[arg-type]
        return "\n".join(bounded(f"  {line}") for line in lines[-_TRACEBACK_LINES:])


class Repeats(logging.Filter):
    """Filter that counts equal lines instead of writing them, except requests, which have a line each.

    Args:
        seconds: after which a line is written again, with the count.
        clock: seconds.
    """

    def __init__(self, seconds: float = _REPEAT_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds, self._clock = seconds, clock
        self._seen: dict[tuple[int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Check that a record is written, see `logging.Filter`; add the count to its message."""
        if record.name == "uvicorn.access":
            return True
        text = bounded(record.getMessage())
        key = record.levelno, text if record.exc_info is None else bounded(f"{text}{record.exc_info}")
        now = self._clock()
        written, count = self._seen.pop(key, (-math.inf, 0))
        if now - written < self._seconds:
            self._seen[key] = written, count + 1
            return False
        self._seen[key] = now, 0
        if len(self._seen) > _MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        if count:
            record.msg, record.args = f"{text[: LINE // 2]} ({count} more of it since the last)", ()
        return True


def bounded(text: str) -> str:
    """The beginning of a text, without what would begin a new line or control a terminal."""
    shown = text[: LINE + 1]
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown)
    return shown if len(shown) <= LINE else f"{shown[: LINE - 3]}..."
