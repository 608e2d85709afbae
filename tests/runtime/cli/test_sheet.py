"""Contact sheets of `triptych generate`, by scheduler and guidance scale."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import refused, run
from triptych.runtime.image.pixels import read_settings

MARGIN, LABEL, SIDE = 8, 23, 64


@pytest.fixture
def command(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return ["generate", package, "a fox", "--steps", 2, "--seed", 5, "--width", SIDE, "--height", SIDE, "--grid"]


def cell(sheet: str, row: int, column: int, columns: int) -> np.ndarray:
    """Pixels of an image in a contact sheet with labels of rows and columns."""
    with Image.open(sheet) as image:
        pixels = np.asarray(image)
    top = MARGIN + LABEL + row * (SIDE + MARGIN + LABEL) + LABEL
    left = MARGIN + column * (pixels.shape[1] - MARGIN) // columns
    return pixels[top : top + SIDE, left : left + SIDE]


def label(sheet: str, row: int, column: int, columns: int) -> bytes:
    """Pixels of the label above an image: of the row in the first column, or of the column above all rows."""
    with Image.open(sheet) as image:
        pixels = np.asarray(image)
    top = MARGIN if row < 0 else MARGIN + LABEL + row * (SIDE + MARGIN + LABEL)
    width = (pixels.shape[1] - MARGIN) // columns
    left = MARGIN + column * width
    found = pixels[top : top + LABEL - MARGIN, left : left + width - MARGIN]
    assert (found < 100).any(), "there is text"
    return found.tobytes()


def test_schedulers_and_scales_are_two_axes(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    axes = ("--scheduler", "ddim, Euler a", "--guidance", "2,4,6.5")
    status, out, _ = run(*command, *axes, capsys=capsys)
    assert status == 0
    assert out.split() == [
        *(f"a-fox-5-{name}-{scale}.png" for name in ("ddim", "euler-a") for scale in ("2", "4", "6.5")),
        "grid.png",
    ]
    with Image.open("grid.png") as sheet:
        assert sheet.height == MARGIN + LABEL + 2 * (SIDE + MARGIN + LABEL)
    for place, file in enumerate(out.split()[:-1]):
        row, column = divmod(place, 3)
        settings = read_settings(file)
        assert (settings.scheduler, settings.guidance_scale) == (("ddim", "Euler a")[row], (2, 4, 6.5)[column])
        assert settings.seed == 5
        with Image.open(file) as image:
            np.testing.assert_array_equal(cell("grid.png", row, column, 3), np.asarray(image))
    assert len({label("grid.png", -1, column, 3) for column in range(3)}) == 3, "labels that tell the values"
    assert len({label("grid.png", row, 0, 3) for row in range(2)}) == 2


@pytest.mark.parametrize(
    ("options", "rows", "columns"),
    [
        (("--guidance", "2,4,6"), 1, 3),
        (("--scheduler", "ddim,euler"), 1, 2),
        (("an owl", "--guidance", "2,4,6"), 2, 3),
        (("--scheduler", "ddim,euler", "-n", 3), 2, 3),
        (("--guidance", "2,4", "-n", 3), 2, 3),
        (("an owl", "-n", 3), 2, 3),
        (("an owl", "a cat"), 3, 1),
    ],
    ids=str,
)
def test_any_two_axes_make_a_sheet(
    options: tuple[object, ...], rows: int, columns: int, command: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(*command, *options, capsys=capsys)
    assert status == 0
    assert len(set(out.split())) == rows * columns + 1
    with Image.open("grid.png") as sheet:
        assert sheet.height == MARGIN + LABEL + rows * (SIDE + MARGIN + LABEL)
    for place, file in enumerate(out.split()[:-1]):
        with Image.open(file) as image:
            np.testing.assert_array_equal(cell("grid.png", *divmod(place, columns), columns), np.asarray(image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("an owl", "--scheduler", "ddim,euler", "--guidance", "2,4"),
            "--grid has two axes; several prompts and schedulers and guidance scales are 3",
        ),
        (("--scheduler", "ddim,,euler"), "a name is missing between commas"),
        (("--scheduler", "ddim,eular"), "unknown scheduler 'eular'; did you mean euler"),
        (("--guidance", "2,inf"), "--guidance inf; allowed: a number"),
        (("--guidance", "2,4", "--save-latents", "x.npy"), "--save-latents is for one PROMPT, one scheduler"),
    ],
    ids=str,
)
def test_wrong_axes_are_refused_before_anything_is_computed(
    options: tuple[object, ...],
    message: str,
    command: list[object],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("triptych.runtime.cli.generation.TextToImage.load", lambda *_, **__: pytest.fail("loaded"))
    assert message in refused(*command, *options, capsys=capsys)


def test_several_schedulers_need_a_sheet(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(*command[:-1], "--scheduler", "ddim,euler", capsys=capsys)
    assert "several schedulers are compared with --grid; add it" in error
