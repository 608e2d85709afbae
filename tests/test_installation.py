"""Installation as a newcomer meets it: fresh environments, and the lines that errors tell to run."""

import os
import re
import subprocess
import venv
from pathlib import Path

import pytest

from tests.support.hub import files_of, running
from tests.support.tiny_package import write
from triptych.runtime.cli.commands import cli

REPOSITORY = Path(__file__).parents[1]
MISSING = "ONNX Runtime is not installed: pip install 'triptych[cpu]', or triptych[cuda] or triptych[openvino]"
HUB_ID = "someone/tiny"

COMPLETE = {"inspect": ("package",), "list": (), "schedulers": ()}
"""Command that needs no extra -> arguments of a run."""
OFFLINE = {"pull": (HUB_ID,), "push": ("package", HUB_ID), "remove": (HUB_ID,)}
"""Command of the hub -> arguments of a run that fails offline."""
INCOMPLETE = {
    "batch": ("package", "jobs.jsonl", "out"),
    "bench": ("package",),
    "export": ("checkpoint", "exported"),
    "generate": ("package", "a fox", "--out", "fox.png"),
    "ray-config": ("package", "--cpus-per-replica", "1"),
    "serve": ("package",),
}
"""Command that needs an extra -> arguments of a run."""


class Environment:
    """A fresh environment, in which the working tree plays no part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=True)
        left_out = ("PYTHONPATH", "VIRTUAL_ENV")
        self.variables = {name: value for name, value in os.environ.items() if name not in left_out}

    def pip(self, target: str) -> None:
        """Install something, in the versions that the tests run with."""
        options = ("--quiet", "--disable-pip-version-check", "--no-compile", "-c", str(REPOSITORY / "constraints.txt"))
        done = self.run("pip", "install", *options, target)
        assert done.returncode == 0, done.stderr

    def run(self, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in its folder."""
        command: list[str | Path] = [self.folder / "venv" / "bin" / program, *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False)

    def generates(self, package: Path | str) -> None:
        """Check that the command writes an image."""
        done = self.run("triptych", "generate", package, "a fox", "--steps", 1, "--out", "fox.png")
        assert done.returncode == 0, done.stderr
        assert (self.folder / "fox.png").stat().st_size > 0

    def has(self, module: str) -> bool:
        """Whether a module can be imported."""
        return self.run("python", "-c", f"import {module}").returncode == 0


@pytest.mark.slow
def test_every_command_of_a_plain_installation_works_or_says_in_a_line_which_extra_it_needs(tmp_path: Path) -> None:
    write(tmp_path / "package")
    (tmp_path / "jobs.jsonl").write_text('{"id": "fox", "prompt": "a fox"}\n')
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    environment = Environment(tmp_path)
    environment.variables |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    environment.pip(str(REPOSITORY))
    assert {*COMPLETE, *OFFLINE, *INCOMPLETE, "doctor"} == set(cli.commands)
    for arguments in (
        ("--version",),
        ("--help",),
        ("generate", "--help"),
        *((name, *COMPLETE[name]) for name in COMPLETE),
    ):
        done = environment.run("triptych", *arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (arguments, done.stderr)
    for name, rest in OFFLINE.items():
        done = environment.run("triptych", name, *rest)
        assert (done.returncode, done.stdout) == (2, ""), (name, done.stderr)
        assert done.stderr.splitlines()[-1].startswith("error: "), name
    for name, rest in INCOMPLETE.items():
        done = environment.run("triptych", name, *rest)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), (name, done.stderr)
        assert "pip install 'triptych[" in done.stderr, name
    report = environment.run("triptych", "doctor")
    assert (report.returncode, report.stderr) == (1, "")
    generate = environment.run("triptych", "generate", *INCOMPLETE["generate"])
    assert generate.stderr.rstrip().endswith(MISSING)
    told = re.search(r"pip install '([^']*)'", generate.stderr)
    assert told is not None
    environment.pip(told[1])  # no index has it: pip reads the extra from what is installed
    environment.generates("package")
    assert environment.run("triptych", "doctor").returncode == 0


@pytest.mark.slow
def test_a_package_of_the_hub_generates_without_pytorch(tmp_path: Path) -> None:
    package = write(tmp_path / "package")
    environment = Environment(tmp_path)
    environment.pip(f"{REPOSITORY}[cpu,hub]")
    assert not environment.has("torch")
    with running(tmp_path / "hub") as hub:
        hub.add(HUB_ID, files_of(package))
        environment.variables |= {
            "HF_ENDPOINT": hub.address,
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        done = environment.run("triptych", "pull", HUB_ID)
        assert done.returncode == 0, done.stderr
    environment.generates(HUB_ID)


@pytest.mark.slow
def test_an_environment_with_the_export_makes_a_package(checkpoint: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.pip(f"{REPOSITORY}[cpu,export]")
    done = environment.run("triptych", "export", checkpoint, "package")
    assert done.returncode == 0, done.stderr
    environment.generates(tmp_path / "package")
