"""The log: lines of bounded length, without control characters, and repeated ones counted."""

import io
import logging
import sys

import pytest

from triptych.runtime.service.http.kept import PREFIX
from triptych.runtime.service.log import LINE, BoundedLines, Repeats


def lines_of(*records: logging.LogRecord) -> list[str]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(BoundedLines("%(levelname)s %(message)s"))
    for record in records:
        handler.handle(record)
    return stream.getvalue().splitlines()


def record_of(message: str, *args: object, name: str = "triptych", exc_info: bool = False) -> logging.LogRecord:
    info = sys.exc_info() if exc_info else None
    return logging.LogRecord(name, logging.WARNING, __file__, 1, message, args, info)


@pytest.mark.parametrize("text", ["x" * 100_000, "a\nERROR forged", "\x1b[31mred\x00", "\u2028\ud800", "\u202eabc"])
def test_whatever_arrives_is_one_short_line(text: str) -> None:
    (line,) = lines_of(record_of("a path: %s", text))
    assert len(line) <= LINE
    assert line.startswith("WARNING a path: ")
    assert line.isprintable()


def test_the_name_of_a_kept_image_is_not_in_the_log() -> None:
    name = f"{'0123456789abcdef' * 2}.png"
    (line,) = lines_of(record_of('"GET %s%s HTTP/1.1" 200', PREFIX, name))
    assert line == 'WARNING "GET /v1/images/files/....png HTTP/1.1" 200'


def test_no_line_of_a_traceback_looks_like_a_message() -> None:
    try:
        raise ValueError("x\nERROR forged " + "y" * 10_000)
    except ValueError:
        first, *others = lines_of(record_of("failed", exc_info=True))
    assert first == "WARNING failed"
    assert all(line.startswith("  ") and len(line) <= LINE for line in others)
    assert "ERROR forged" in "".join(others)


def test_a_traceback_has_a_limit_of_lines() -> None:
    def deep(left: int) -> None:
        if left == 0:
            raise ValueError("\n" * 1000)
        deep(left - 1)

    try:
        deep(100)
    except ValueError:
        assert len(lines_of(record_of("failed", exc_info=True))) < 100


def test_equal_lines_are_counted() -> None:
    now = [0.0]
    repeats = Repeats(10, lambda: now[0])
    assert [repeats.filter(record_of("refused")) for _ in range(5)] == [True] + [False] * 4
    assert repeats.filter(record_of("another"))
    now[0] = 11
    again = record_of("refused")
    assert repeats.filter(again)
    assert again.getMessage() == "refused (4 more of it since the last)"
    assert all(repeats.filter(record_of("GET /", name="uvicorn.access")) for _ in range(5))


def test_many_different_lines_are_not_remembered() -> None:
    repeats = Repeats()
    for number in range(10_000):
        assert repeats.filter(record_of("line %s", number))
    assert len(repeats._seen) <= 256
