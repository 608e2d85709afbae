"""The command line in this process."""

import sys

import pytest

from triptych.runtime.cli import main

INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""At the beginning of `python -c`: Ctrl-C ends it, even where the tests run in a background that ignores it."""


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command, run in this process."""
    before = sys.argv
    sys.argv = ["triptych", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as stopped:
            main()
    finally:
        sys.argv = before
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def refused(*arguments: object, capsys: pytest.CaptureFixture[str]) -> str:
    """The error message of a command that exits with status 2."""
    status, out, err = run(*arguments, capsys=capsys)
    assert status == 2
    assert out == ""
    lines = err.strip().splitlines()
    assert [line.startswith("error: ") for line in lines[-2:]].count(True) == 1
    assert len(lines) <= 2, "the device in use may be reported before"
    return lines[-1]
