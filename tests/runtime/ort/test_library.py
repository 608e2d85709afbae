"""ONNX Runtime sends nothing and writes nothing outside the files that a user names."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

STUB = """
import os

seen = os.environ.get("ORT_DISABLE_TELEMETRY")
turned_off = 0


def disable_telemetry_events():
    global turned_off
    turned_off += 1


def __getattr__(name):
    return object
"""

NOT_HERE = Path("/proc/nothing")
"""A home folder that nobody can write to, root neither."""


def run(code: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program on a machine that is no server of tests, where telemetry is on."""
    mute = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in mute}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**environment, "HOME": str(home), **variables}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def imported(folder: Path, before: str = "", **variables: str) -> str:
    """The variable that a stub of ONNX Runtime has read, the calls that turn events off, and the variable after."""
    (folder / "onnxruntime.py").write_text(STUB)
    code = (
        f"import os, sys; sys.path.insert(0, {str(folder)!r})\n{before}\n"
        "from triptych.runtime.ort.library import ort\n"
        "print(ort.seen, ort.turned_off, os.environ.get('ORT_DISABLE_TELEMETRY'))"
    )
    return run(code, folder, **variables).stdout.strip()


def test_telemetry_is_off_while_onnxruntime_is_imported_and_the_variable_is_restored(tmp_path: Path) -> None:
    assert imported(tmp_path) == "1 1 None"


@pytest.mark.parametrize("value", ["0", "1"])
def test_the_choice_of_the_user_stays(tmp_path: Path, value: str) -> None:
    assert imported(tmp_path, ORT_DISABLE_TELEMETRY=value) == f"{value} 0 {value}"


def test_events_are_off_where_the_caller_has_imported_onnxruntime(tmp_path: Path) -> None:
    assert imported(tmp_path, "import onnxruntime") == "None 1 None"


def test_an_image_leaves_nothing_in_the_home_folder(package: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = run(
        "from triptych.runtime import TextToImage\n"
        f"TextToImage.load({str(package)!r}, device='cpu')('a fox', num_inference_steps=1, seed=1)",
        home,
    )
    cache = home / ".cache" / "triptych"  # digests of the package's files
    assert [file for file in home.rglob("*") if file.is_file() and not file.is_relative_to(cache)] == []
    assert (done.stdout, done.stderr) == ("", "")


def test_a_home_folder_that_cannot_be_written_causes_no_warning() -> None:
    assert run("from triptych.runtime.cli.doctor import examine; examine()", NOT_HERE).stderr == ""


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
def test_an_import_of_the_export_writes_nothing_outside(tmp_path: Path) -> None:
    assert run("import triptych.export", tmp_path).stderr == ""
    assert [*tmp_path.rglob("*")] == []
