"""Altered inputs are right or one line, see `tests.robustness`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .attempt import Case, Outcome, attempt_all
from .inputs import REPOSITORY

CASES = 225


@pytest.mark.slow
def test_altered_inputs_are_right_or_one_line() -> None:
    # A process of its own: cases are forked, which this one with its threads may not be
    command = [sys.executable, "-m", "tests.robustness", "--cases", str(CASES), "--seed", "1"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def _wrong_things() -> list[tuple[Outcome, Case]]:
    """A case for each outcome that is not as promised."""

    def uncaught() -> None:
        raise KeyError("x")

    return [
        (Outcome.TRACEBACK, Case("uncaught", uncaught)),
        (Outcome.OTHER_STATUS, Case("status", lambda: sys.exit(3))),
        (Outcome.OTHER_STATUS, Case("no line", lambda: sys.exit(2))),
        (Outcome.CRASH, Case("crash", lambda: os.kill(os.getpid(), signal.SIGKILL))),
        (Outcome.HANG, Case("hang", lambda: time.sleep(60))),
        (Outcome.OTHER_IMAGE, Case("image", lambda: b"made", b"expected")),
        (Outcome.OUTSIDE, Case("home", lambda: Path.home().joinpath("x").touch())),
        (Outcome.RIGHT, Case("right", lambda: b"made", b"made")),
    ]


def test_every_outcome_is_told_from_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.robustness.attempt.SECONDS", 1.0)
    things = _wrong_things()
    (tmp_path / "inputs").mkdir()
    found = attempt_all((case for _, case in things), tmp_path / "cases", tmp_path / "inputs")
    outcomes = {case.name: result.outcome for _, case, result in found}
    assert outcomes == {case.name: outcome for outcome, case in things}
