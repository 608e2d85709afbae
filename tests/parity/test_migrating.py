"""The snippets of docs/migrating.md: those of diffusers and ours run as printed, and give the same image."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.parity.comparison import PIXEL_SHARE, PIXEL_TOLERANCE
from tests.parity.test_optimum import Optimum
from tests.parity.test_optimum import optimum as optimum
from tests.support.images import example_image, mask

PAGE = Path(__file__).parents[2] / "docs" / "migrating.md"
SECTIONS: dict[str, dict[str, str]] = {
    section.partition("\n")[0]: dict(re.findall(r"```python (\w+)\n(.*?)```", section, re.DOTALL))
    for section in PAGE.read_text().split("\n## ")[1:]
}
STEPS = 4


def code(section: str, of: str, checkpoint: Path, package: Path) -> str:
    """A snippet with paths of the tests, and fewer steps."""
    text = SECTIONS[section][of].replace("num_inference_steps=20", f"num_inference_steps={STEPS}")
    return text.replace('"sd15-checkpoint"', repr(str(checkpoint))).replace('"sd15"', repr(str(package)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files that snippets read."""
    example_image().save(tmp_path / "photo.png")
    mask().save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(text, str(PAGE), "exec"), names)
    return names


def test_there_are_ten_sections_each_with_ours_and_theirs() -> None:
    assert [int(name.partition(".")[0]) for name in SECTIONS] == list(range(1, 11))
    for snippets in SECTIONS.values():
        assert "triptych" in snippets
        assert snippets.keys() & {"diffusers", "optimum"}
        assert snippets.keys() <= {"triptych", "diffusers", "optimum"}


@pytest.mark.parametrize("section", [name for name, snippets in SECTIONS.items() if "diffusers" in snippets])
def test_ours_gives_the_image_of_diffusers(section: str, folder: Path, checkpoint: Path, package: Path) -> None:
    theirs, ours = (run(code(section, of, checkpoint, package)) for of in ("diffusers", "triptych"))
    expected, image = (np.asarray(names["image"], float) for names in (theirs, ours))
    assert expected.std() > 5, "a flat image shows nothing"
    assert (np.abs(image - expected) <= PIXEL_TOLERANCE).mean() >= PIXEL_SHARE
    for name in ("images", "seen"):
        assert len(theirs.get(name, [])) == len(ours.get(name, []))


@pytest.mark.parametrize("section", [name for name, snippets in SECTIONS.items() if "diffusers" not in snippets])
def test_ours_runs_as_printed(section: str, folder: Path, checkpoint: Path, package: Path) -> None:
    assert np.asarray(run(code(section, "triptych", checkpoint, package))["image"]).std() > 5


@pytest.mark.slow
@pytest.mark.parametrize("section", [name for name, snippets in SECTIONS.items() if "optimum" in snippets])
def test_snippets_of_optimum_run_in_its_environment(
    optimum: Optimum, section: str, folder: Path, checkpoint: Path, portable_package: Path
) -> None:
    optimum("run", code=code(section, "optimum", checkpoint, portable_package), out=folder / "theirs.png")
    theirs = np.asarray(Image.open(folder / "theirs.png"), float)
    assert theirs.std() > 5
    if "seed=7" in SECTIONS[section]["triptych"]:
        ours = np.asarray(run(code(section, "triptych", checkpoint, portable_package))["image"], float)
        assert (np.abs(ours - theirs) <= PIXEL_TOLERANCE).mean() >= PIXEL_SHARE
