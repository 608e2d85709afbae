"""Files of `triptych generate`: names, formats, settings in them, and nothing replaced unasked."""

import json
import os
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import refused, run
from triptych.runtime.cli.commands import cli
from triptych.runtime.image.exif import exif_of
from triptych.runtime.image.pixels import read_settings


@pytest.fixture
def command(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return ["generate", package, "a fox", "--steps", 2, "--seed", 5]


def mean_difference(first: str, second: str) -> float:
    with Image.open(first) as one, Image.open(second) as other:
        return float(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).mean())


def test_a_jpeg_carries_the_settings_of_a_png(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    command[2] = "a füchs 🦊"
    for name in ("c.png", "c.jpg", "d.JPEG"):
        assert run(*command, "-o", name, capsys=capsys)[:2] == (0, f"{name}\n")
        assert read_settings(name) == read_settings("c.png")
    with Image.open("c.jpg") as image, Image.open("c.png") as png:
        assert image.format == "JPEG"
        comment = image.getexif().get_ifd(0x8769)[0x9286]
        assert comment == b"UNICODE\0" + png.info["parameters"].encode("utf-16-be")
    assert mean_difference("c.png", "c.jpg") < 6
    assert run("generate", command[1], "--from-image", "c.jpg", "-o", "again.png", capsys=capsys)[0] == 0
    assert mean_difference("c.png", "again.png") == 0


def test_quality_is_that_of_a_jpeg(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    for quality in (20, 95):
        assert run(*command, "-o", f"{quality}.jpg", "--quality", quality, capsys=capsys)[0] == 0
    assert mean_difference("20.jpg", "95.jpg") > 0
    assert Path("20.jpg").stat().st_size < Path("95.jpg").stat().st_size
    assert "is for JPEGs" in refused(*command, "--quality", 90, "-o", "a.png", capsys=capsys)
    assert "is not in the range 1<=x<=100" in refused(*command, "--quality", 0, "-o", "a.jpg", capsys=capsys)


@pytest.mark.filterwarnings("always:a.jpg")
def test_settings_too_long_for_a_jpeg_are_a_warning(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(*command, "--negative", "owl " * 9000, "-o", "a.jpg", capsys=capsys)
    assert (status, out) == (0, "a.jpg\n")
    assert "the settings are longer than a JPEG has room for" in err
    assert "has no settings" in refused("generate", command[1], "--from-image", "a.jpg", capsys=capsys)


def test_other_jpegs_have_no_settings(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "-o", "a.jpg", capsys=capsys)[0] == 0
    data = exif_of(read_settings("a.jpg"))
    assert data is not None
    for name, exif in (("none.jpg", b""), ("cut.jpg", data[:40]), ("other.jpg", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")):
        Image.new("RGB", (8, 8)).save(name, exif=exif)
        assert "has no settings" in refused("generate", command[1], "--from-image", name, capsys=capsys)


def test_a_file_that_exists_is_refused_before_anything_is_computed(
    command: list[object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.png").write_bytes(b"mine")
    Path("a.npy").write_bytes(b"mine")
    with monkeypatch.context() as patch:
        patch.setattr("triptych.runtime.cli.generation.TextToImage.load", lambda *_, **__: pytest.fail("loaded"))
        error = refused(*command, "-o", "a.png", capsys=capsys)
        assert error == "error: --out a.png exists; give another name, or --force to replace it"
        assert "--save-latents a.npy exists" in refused(*command, "--save-latents", "a.npy", capsys=capsys)
    assert run(*command, "-o", "a.png", "--save-latents", "a.npy", "--force", capsys=capsys)[0] == 0
    assert read_settings("a.png").seed == 5
    assert np.load("a.npy").shape == (1, 4, 16, 16)


def test_several_images_of_one_name_get_new_names(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a-a-fox-5.jpg", "a-a-fox-6.jpg", "a-grid.jpg"]
    assert run(*command, "-n", 2, "--grid", "-o", "a.jpg", capsys=capsys)[1].split() == names
    again = ["a-a-fox-5-2.jpg", "a-a-fox-6-2.jpg", "a-grid-2.jpg"]
    assert run(*command, "-n", 2, "--grid", "-o", "a.jpg", capsys=capsys)[1].split() == again
    assert run(*command, "-n", 2, "--grid", "-o", "a.jpg", "--force", capsys=capsys)[1].split() == names
    twice = run(*command, "a fox", "-o", "out", "--force", capsys=capsys)[1].split()
    assert twice == ["out/a-fox-5.png", "out/a-fox-5-2.png"], "a command does not replace its own files"


@pytest.mark.parametrize("name", ["a.webp", "a.GIF", "sub/a.tiff"])
def test_other_formats_are_refused(name: str, command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert "allowed: a folder, or a name that ends in .png, .jpg, .jpeg" in refused(*command, "-o", name, capsys=capsys)
    assert os.listdir() == []


def test_json_has_an_object_for_each_image(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    options = ("-n", 2, "--grid", "-o", "out", "--json")
    status, out, err = run(*command, "an owl", *options, capsys=capsys)
    assert status == 0
    images = [json.loads(line) for line in out.splitlines()]
    assert [Path(each["file"]).name for each in images] == [
        "a-fox-5.png",
        "a-fox-6.png",
        "an-owl-5.png",
        "an-owl-6.png",
    ]
    for each in images:
        settings = json.loads(read_settings(each["file"]).to_json())
        assert (each["settings"], each["seed"]) == (settings, settings["seed"])
        assert each["timings"]["total"] >= each["timings"]["unet"] > 0
        assert set(each) == {"file", "seed", "settings", "timings"}
    assert "out/grid.png" in err.splitlines()


def test_prompts_are_the_lines_of_a_file_or_of_standard_input(
    command: list[object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def type_in(text: bytes) -> None:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(text), "ascii"))

    Path("prompts.txt").write_bytes("\ufeffan owl\r\n\n  a füchs \n".encode())
    expected = ["a-fox-5.png", "an-owl-5.png", "a-füchs-5.png"]
    assert run(*command, "--prompts", "prompts.txt", "--force", capsys=capsys)[1].split() == expected
    type_in(Path("prompts.txt").read_bytes())
    assert run(*command, "--prompts", "-", "--force", capsys=capsys)[1].split() == expected
    type_in(b"an owl\n")
    words = (*command, "-", "a cat", "--force")
    assert run(*words, capsys=capsys)[1].split() == ["a-fox-5.png", "an-owl-5.png", "a-cat-5.png"]
    type_in(b"an owl\n")
    alone = (*command[:2], "--prompts", "-", *command[3:], "--force")
    assert run(*alone, capsys=capsys)[1].split() == ["an-owl-5.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prompts", "absent.txt"], "absent.txt does not exist"),
        (["--prompts", "empty.txt"], "empty.txt has no prompts; give one on each line"),
        (["--prompts", "latin.txt"], "latin.txt cannot be read: it is not UTF-8 text"),
        (["--prompts", "many.txt"], "many.txt has 10001 prompts; allowed: 10000"),
        (["--prompts", "/dev/zero"], "/dev/zero"),
        (["-", "--prompts", "-"], "standard input can be read once"),
    ],
    ids=str,
)
def test_prompts_that_cannot_be_read_are_one_line(
    words: list[object], message: str, command: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.txt").write_text("\n \n")
    Path("latin.txt").write_bytes(b"f\xfcchs\n")
    Path("many.txt").write_text("a\n" * 10001)
    assert message in refused(*command, *words, capsys=capsys)


def test_options_beside_stored_settings_are_refused(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "-o", "a.png", capsys=capsys)[0] == 0
    again = ("generate", command[1], "--from-image", "a.png")
    error = refused(*again, "--steps", 3, "-n", 1, capsys=capsys)
    assert error == "error: --from-image uses the settings of the image; leave --steps and --num out"
    assert "leave --walk out" in refused(*again, "--walk", 3, capsys=capsys)


def test_quiet_leaves_results_warnings_and_errors(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--quiet", "-o", "a.png", capsys=capsys) == (0, "a.png\n", "")
    assert run("-q", *command, "-o", "b.png", capsys=capsys) == (0, "b.png\n", "")
    assert "exists" in refused(*command, "-q", "-o", "a.png", capsys=capsys)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_flags_stand_anywhere(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    help_text = run(name, "--help", capsys=capsys)[1]
    assert "--debug" in help_text
    assert "--quiet" in help_text


@pytest.mark.parametrize(
    "words", [["--debug", "inspect", "absent"], ["inspect", "--debug", "absent"], ["inspect", "absent", "--debug"]]
)
def test_debug_shows_the_error_itself(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from triptych.runtime.cli import main
    from triptych.runtime.errors import PackageError

    monkeypatch.setattr("sys.argv", ["triptych", *words])
    with pytest.raises(PackageError, match="absent"):
        main()


def test_a_prompt_after_two_dashes_is_no_flag(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(*command, "-o", "out", "--", "--debug", capsys=capsys)
    assert status == 0
    assert Path("out/debug-5.png").exists()
    assert "2 images in" in err
