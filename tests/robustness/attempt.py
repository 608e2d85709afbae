"""One case, run in a process of its own, and its outcome."""

import hashlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from triptych.runtime.errors import TriptychError

SECONDS = 60.0
"""A case that takes longer has hung: most take a fraction of a second."""
MEMORY = 8 << 30
"""Bytes of address space: where a small file asks for more, memory has no bound."""
_CACHE = Path(".cache", "triptych")
_POLL_SECONDS = 0.005


class Outcome(StrEnum):
    """Outcomes of a case; RIGHT and ONE_LINE are as promised."""

    RIGHT = "right"
    ONE_LINE = "one line"
    TRACEBACK = "traceback"
    OTHER_STATUS = "other status"
    CRASH = "crash"
    HANG = "hang"
    OTHER_IMAGE = "other image"
    OUTSIDE = "outside writes"


PROMISED = (Outcome.RIGHT, Outcome.ONE_LINE)


@dataclass(frozen=True)
class Case:
    """An altered input.

    Attributes:
        name: of the change, short.
        run: called in an empty folder of the case, in a process of its own. Returns the bytes of what it made, or None.
        expected: what `run` returns where it succeeds; None leaves that open.
        statuses: exit statuses that are right beside 0.
    """

    name: str
    run: Callable[[], bytes | None]
    expected: bytes | None = None
    statuses: tuple[int, ...] = ()


@dataclass(frozen=True)
class Result:
    """An outcome, and the last line that the case printed."""

    outcome: Outcome
    line: str


def attempt_all(
    cases: Iterable[Case], folder: Path, inputs: Path, processes: int = 2
) -> Iterator[tuple[int, Case, Result]]:
    """Run the cases, some at a time, and yield number, case and result of each as it ends.

    Args:
        cases: see there.
        folder: an empty one, for a folder of each case.
        inputs: a folder that no case may change.
        processes: cases at a time.
    """
    before = snapshot(inputs)
    running: dict[int, tuple[int, Case, Path, float]] = {}
    for number, case in enumerate(cases):
        while len(running) >= processes:
            yield from _ended(running, inputs, before)
        place = folder / str(number)
        running[_fork(case, place)] = number, case, place, time.monotonic()
    while running:
        yield from _ended(running, inputs, before)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time stamp of every file below a folder, by path."""
    found = {}
    for each in sorted(folder.rglob("*")):
        status = each.lstat()
        found[str(each.relative_to(folder))] = status.st_size, 0 if each.is_dir() else status.st_mtime_ns
    return found


def _ended(
    running: dict[int, tuple[int, Case, Path, float]], inputs: Path, before: dict[str, tuple[int, int]]
) -> Iterator[tuple[int, Case, Result]]:
    time.sleep(_POLL_SECONDS)
    for process, (number, case, place, start) in list(running.items()):
        ended, status = os.waitpid(process, os.WNOHANG)
        hung = not ended and time.monotonic() - start > SECONDS
        if hung:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
        if ended or hung:
            del running[process]
            result = Result(Outcome.HANG, "") if hung else _judge(case, place, os.waitstatus_to_exitcode(status))
            if snapshot(inputs) != before:
                raise RuntimeError(f"case {number}, {case.name}, changed its inputs")
            yield number, case, result


def _fork(case: Case, place: Path) -> int:
    """Start a case in `place`/work, with a home and a folder for temporary files beside it."""
    for name in ("work", "home", "tmp"):
        (place / name).mkdir(parents=True)
    process = os.fork()
    if process:
        return process
    os.setpgid(0, 0)
    status = 1
    try:
        _redirect(place)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.environ |= {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp")}
        os.environ.pop("XDG_CACHE_HOME", None)
        os.chdir(place / "work")
        status = _status_of(case, place / "made")
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, full or none at all
                stream.flush()
        os._exit(status)


def _redirect(place: Path) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(place / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))


def _status_of(case: Case, made: Path) -> int:
    """Exit status, as the command line has it."""
    try:
        result = case.run()
        if result is not None:
            made.write_bytes(hashlib.sha256(result).digest())
    except TriptychError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except SystemExit as stopped:
        return int(stopped.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _judge(case: Case, place: Path, status: int) -> Result:
    lines = (place / "stderr").read_text("utf-8", "replace").rstrip().splitlines()
    line = lines[-1] if lines else ""
    return Result(_outcome(case, place, status, lines), line)


def _outcome(case: Case, place: Path, status: int, lines: list[str]) -> Outcome:
    if status < 0:
        return Outcome.CRASH
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        return Outcome.TRACEBACK
    if _outside(place):
        return Outcome.OUTSIDE
    if status == 2:
        errors = [line for line in lines if line.startswith("error: ")]
        return Outcome.ONE_LINE if len(errors) == 1 and lines[-1] == errors[0] else Outcome.OTHER_STATUS
    if status not in (0, *case.statuses):
        return Outcome.OTHER_STATUS
    made = place / "made"
    if status == 0 and case.expected is not None:
        expected = hashlib.sha256(case.expected).digest()
        if not made.exists() or made.read_bytes() != expected:
            return Outcome.OTHER_IMAGE
    return Outcome.RIGHT


def _outside(place: Path) -> bool:
    """Whether something lies in the home, beside the cache, or among temporary files."""
    allowed = {str(_CACHE), *map(str, _CACHE.parents)}
    at_home = {name for name in snapshot(place / "home") if not name.startswith(str(_CACHE))}
    return bool(at_home - allowed or snapshot(place / "tmp"))
