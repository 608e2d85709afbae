"""The environment of `make demo` from a clone: a first image, its size, and the commands that it prints last."""

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = "models/emoji-package"
TRIPTYCH = ".venv-demo/bin/triptych"

MOST_BYTES = 1_600_000_000
"""Of the environment on disk; about 1.2e9, and 1.4e9 with all modules compiled."""

pytestmark = pytest.mark.slow


def _environment() -> dict[str, str]:
    """A newcomer's variables, by which Python keeps compiled modules."""
    left_out = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "MAKEFLAGS")
    return {name: value for name, value in os.environ.items() if name not in left_out}


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the demo's environment and package, in which the first image was made."""
    folder = tmp_path_factory.mktemp("clone") / "triptych"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, folder], check=True)
    _run(folder, "make", "--silent", f"PYTHON={sys.executable}", ".venv-demo/.ready")
    _run(folder, TRIPTYCH, "export", "models/emoji", PACKAGE)
    _run(folder, TRIPTYCH, "generate", PACKAGE, "red heart", "--out", "out/first.png")
    assert (folder / "out" / "first.png").stat().st_size > 0
    return folder


def test_the_environment_is_small(clone: Path) -> None:
    files = (clone / ".venv-demo").rglob("*")
    assert sum(file.lstat().st_size for file in files if not file.is_dir()) <= MOST_BYTES


def test_the_commands_at_the_end_work_as_printed(clone: Path) -> None:
    printed = _run(clone, "make", "--dry-run", "demo").stdout
    commands = [shlex.split(shlex.split(line)[1]) for line in re.findall(r"^echo \"  .*$", printed, re.MULTILINE)]
    generate, inspect, serve = commands
    assert [command[1] for command in commands] == ["generate", "inspect", "serve"]
    image = _run(clone, *generate).stdout.strip()
    assert (clone / image).stat().st_size > 0
    assert "verified: " in _run(clone, *inspect).stdout
    _serves(clone, [*serve, "--port", "0"])  # whatever the port 8000 of this machine is used for


def _serves(folder: Path, command: list[str]) -> None:
    """Check that a service answers with its page, and ends when it is asked to."""
    with subprocess.Popen(command, cwd=folder, env=_environment(), stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        said = []
        for line in service.stderr:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                with urllib.request.urlopen(found[0]) as answer:
                    assert "<html" in answer.read().decode()
                service.send_signal(signal.SIGTERM)
                break
        service.stderr.read()
    assert service.returncode == 0, said
