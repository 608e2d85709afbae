"""Child processes that run on the stand-in."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from .environment import Environment
from .log import Log, read
from .setups import WHOLE, Setup

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Finished:
    """A process that has ended: its exit status, output, and log of CUDA calls."""

    status: int
    stdout: str
    stderr: str
    log: Log


def run(environment: Environment, folder: Path, *command: str | Path, setup: Setup = WHOLE) -> Finished:
    """Run a command of this Python on a machine as in `setup`; `command` goes behind `python`.

    Args:
        environment: see `environment`.
        folder: for the log and for links.
        command: such as "-m", "triptych.runtime.cli", "doctor".
        setup: the machine.
    """
    place = Path(mkdtemp(dir=folder))
    log = place / "log"
    log.touch()
    finished = subprocess.run(
        [sys.executable, *command],
        env=variables(environment, place, setup),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    return Finished(finished.returncode, finished.stdout, finished.stderr, read(log))


def variables(environment: Environment, place: Path, setup: Setup = WHOLE) -> dict[str, str]:
    """Environment variables of a process on such a machine, whose log is `place`/log."""
    libraries = environment.libraries
    if setup.missing is not None:
        libraries = place / "libraries"
        libraries.mkdir()
        for file in environment.libraries.iterdir():
            if file.name != setup.missing:
                (libraries / file.name).symlink_to(file)
    wheel = environment.foreign_wheel if setup.foreign_wheel else environment.wheel
    path = os.pathsep.join(filter(None, (str(wheel), os.environ.get("PYTHONPATH"))))
    chosen = {} if setup.fails is None else {"STANDIN_FAIL": setup.fails}
    # LD_LIBRARY_PATH is replaced: libraries that are there already would be found in place of those left out
    own = {"PYTHONPATH": path, "LD_LIBRARY_PATH": str(libraries), "STANDIN_LOG": str(place / "log")}
    return {**os.environ, **own, **chosen, **setup.variables}
