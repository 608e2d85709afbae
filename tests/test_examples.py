"""The examples run as their docstrings say, and make what they say."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

from tests.docs.workplace import package as write_package
from tests.runtime.service.serving import process

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a tiny package where the demo model's is."""
    write_package(tmp_path / "models" / "emoji-package")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(name: str, *arguments: str) -> list[str]:
    """Lines of the output of an example."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_example_is_listed() -> None:
    page = (EXAMPLES / "README.md").read_text()
    for file in {*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.ipynb")}:
        assert f"[{file.name}]({file.name})" in page
        if file.suffix == ".py":
            assert f"    python examples/{file.name} [" in file.read_text()


def test_the_first_image_comes_again_from_its_settings(folder: Path) -> None:
    lines = run("first_image.py")
    assert lines[1] == "out/first_image.png: the image from its settings is the same"
    assert Image.open("out/first_image.png").size == (128, 128)


def test_schedulers_are_compared(folder: Path) -> None:
    (folder / "models" / "emoji-package").rename(folder / "mine")
    assert run("compare_schedulers.py", "mine") == ["out/compare_schedulers.png: 25 images"]
    with Image.open("out/compare_schedulers.png") as sheet:
        assert sheet.width > 5 * 128
        assert sheet.height > 5 * 128


def test_previews_become_an_animation_and_the_loop_stops_early(folder: Path) -> None:
    stopped, _ = run("stream_previews.py")
    taken, total = (int(word) for word in stopped.split() if word.isdigit())
    assert 2 <= taken < total
    with Image.open("out/stream_previews.gif") as animation:
        assert getattr(animation, "n_frames", 1) >= 2


def test_a_sketch_is_redrawn(folder: Path) -> None:
    run("sketch.py")
    with Image.open("out/sketch.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[1] > 5 * 128
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


def test_the_client_shows_progress_and_saves_the_image(folder: Path) -> None:
    write_package(folder / "slow", "slow")
    with process(folder / "log", folder / "slow") as service:
        lines = run("http_client.py", service.url)
    assert any(line.startswith("running: step ") and line.endswith(" of 31") for line in lines)
    assert lines[-1] == "out/http_client.png"
    assert Image.open("out/http_client.png").size == (128, 128)


def test_the_notebook_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(EXAMPLES / "samplers.ipynb", as_version=4)
    nbformat.validate(notebook)
    (folder / "examples").mkdir()
    monkeypatch.chdir(folder / "examples")
    monkeypatch.setitem(os.environ, "MPLBACKEND", "Agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), "saved with outputs"
            exec(compile(cell.source, f"samplers.ipynb, cell {number}", "exec"), names)
    assert names["slopes"] == pytest.approx({1: 1, 2: 2, 3: 3}, abs=0.5)
    assert {len(values) for values in names["decibels"].values()} == {5}
    assert len(names["images"]) == 10
