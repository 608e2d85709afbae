"""Environments of the peers: their folders, their installation and their size.

They are in the folder TRIPTYCH_PEERS, by default ~/.cache/triptych/peers, with the versions of requirements/NAME.txt.
Triptych is not installed in them: a worker finds the running one through links.
"""

import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import triptych.runtime
from triptych.runtime.errors import ArgumentError, TriptychError, nearest

from ..files import weight_mb

REQUIREMENTS = Path(__file__).parent / "requirements"
NAMES = tuple(sorted(path.stem for path in REQUIREMENTS.glob("*.txt")))
HERE = "here"
"""The environment that this process runs in."""

_READY = ".ready"


def home() -> Path:
    """The folder of all environments."""
    return Path(os.environ.get("TRIPTYCH_PEERS") or Path.home() / ".cache" / "triptych" / "peers")


def python_of(name: str) -> Path:
    """The interpreter of an environment.

    Raises:
        TriptychError: the environment has not been made.
    """
    if name == HERE:
        return Path(sys.executable)
    if not (home() / name / _READY).is_file():
        raise TriptychError(
            f"there is no environment {name} in {home()}; make it: python -m triptych.benchmarks.peers install {name}"
        )
    return home() / name / "bin" / "python"


def install(name: str) -> Path:
    """Make an environment, or finish one that was interrupted, and return its folder.

    Raises:
        ArgumentError: there is no environment of that name.
        TriptychError: pip failed; its output is in the log next to the environment.
    """
    if name not in NAMES:
        raise ArgumentError(f"there is no environment {name}; {nearest(name, NAMES)}")
    folder = home() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    venv.create(folder, with_pip=True)
    command: list[str | Path] = [
        folder / "bin" / "pip",
        "install",
        "--disable-pip-version-check",
        "-r",
        REQUIREMENTS / f"{name}.txt",
    ]
    log = folder.with_suffix(".log")
    with log.open("w") as output:
        if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode:
            raise TriptychError(f"the environment {name} could not be made; pip's output is in {log}")
    (folder / _READY).touch()
    return folder


def megabytes(name: str) -> float | None:
    """Size of an environment on disk in MB; None for the one of this process."""
    return None if name == HERE else weight_mb(home() / name)


def links() -> Path:
    """A folder for PYTHONPATH through which an environment finds the running triptych and nothing else.

    Importing `triptych.runtime` there imports no ONNX Runtime, which most environments lack: modules are found, public
    names are not.
    """
    folder = home() / "links"
    places = {"runtime": Path(triptych.runtime.__file__).parent, "benchmarks": Path(__file__).parents[1]}
    for name, place in places.items():
        (folder / "triptych" / name).mkdir(parents=True, exist_ok=True)
        (folder / "triptych" / name / "__init__.py").write_text(f"__path__ = [{str(place)!r}]\n")
    running = version("triptych")
    metadata = folder / f"triptych-{running}.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: triptych\nVersion: {running}\n")
    return folder
