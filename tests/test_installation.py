"""Installation as a newcomer meets it: fresh environments, and the lines that errors tell to run."""

import os
import re
import subprocess
import venv
from pathlib import Path

import pytest

from tests.support.tiny_package import write

REPOSITORY = Path(__file__).parents[1]
MISSING = "ONNX Runtime is not installed: pip install 'triptych[cpu]', or triptych[cuda] or triptych[openvino]"


class Environment:
    """A fresh environment, in which the working tree plays no part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=True)

    def pip(self, target: str) -> None:
        """Install something, in the versions that the tests run with."""
        options = ("--quiet", "--disable-pip-version-check", "-c", str(REPOSITORY / "constraints.txt"))
        done = self.run("pip", "install", *options, target)
        assert done.returncode == 0, done.stderr

    def run(self, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in its folder."""
        command: list[str | Path] = [self.folder / "venv" / "bin" / program, *map(str, arguments)]
        variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, check=False)

    def generates(self, package: Path) -> None:
        """Check that the command writes an image."""
        done = self.run("triptych", "generate", package, "a fox", "--steps", 1, "--out", "fox.png")
        assert done.returncode == 0, done.stderr
        assert (self.folder / "fox.png").stat().st_size > 0


def test_a_plain_installation_tells_the_line_that_completes_it(tmp_path: Path) -> None:
    package = write(tmp_path / "package")
    environment = Environment(tmp_path)
    environment.pip(str(REPOSITORY))
    for arguments in (["--version"], ["--help"], ["generate", "--help"], ["schedulers"], ["inspect", package]):
        done = environment.run("triptych", *arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    report = environment.run("triptych", "doctor")
    assert (report.returncode, report.stderr) == (1, "")
    done = environment.run("triptych", "generate", package, "a fox", "--out", "fox.png")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.rstrip().endswith(MISSING)
    told = re.search(r"pip install '([^']*)'", done.stderr)
    assert told is not None
    environment.pip(told[1])  # no index has it: pip reads the extra from what is installed
    environment.generates(package)
    assert environment.run("triptych", "doctor").returncode == 0


@pytest.mark.slow
def test_an_environment_with_the_export_makes_a_package(checkpoint: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.pip(f"{REPOSITORY}[cpu,export]")
    done = environment.run("triptych", "export", checkpoint, "package")
    assert done.returncode == 0, done.stderr
    environment.generates(tmp_path / "package")
