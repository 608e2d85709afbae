"""PACKAGE and PROMPTs are told apart by what exists, and arguments are checked before graphs are loaded."""

from pathlib import Path

import pytest

from tests.support.command_line import refused, run
from triptych.runtime.cli import values
from triptych.runtime.cli.values import DEFAULT_PACKAGE, package_and_prompts
from triptych.runtime.errors import ArgumentError, PackageError, TriptychError
from triptych.runtime.image.pixels import read_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a default package, a package and a file."""
    monkeypatch.chdir(tmp_path)
    for name in (DEFAULT_PACKAGE, Path("sd15"), Path("my models/sd15")):
        name.mkdir(parents=True)
    Path("notes").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "package", "prompts"),
    [
        (["red heart", "flower"], DEFAULT_PACKAGE, ["red heart", "flower"]),
        (["red heart"], DEFAULT_PACKAGE, ["red heart"]),
        (["sd15", "a fox"], Path("sd15"), ["a fox"]),
        (["./sd15", "a fox", "an owl"], Path("sd15"), ["a fox", "an owl"]),
        (["my models/sd15", "a fox"], Path("my models/sd15"), ["a fox"]),
        (["a black/white cat", "a fox"], DEFAULT_PACKAGE, ["a black/white cat", "a fox"]),
        (["notes", "a fox"], DEFAULT_PACKAGE, ["notes", "a fox"]),
        (["a fox", "sd15"], DEFAULT_PACKAGE, ["a fox", "sd15"]),
    ],
)
def test_the_package_is_a_first_word_that_exists(
    folder: Path, words: list[str], package: Path, prompts: list[str]
) -> None:
    assert package_and_prompts(words, None, None) == (package, prompts)
    assert package_and_prompts(words, Path("other"), None) == (Path("other"), words)


def test_an_image_with_settings_needs_no_prompt(folder: Path) -> None:
    image = Path("one.png")
    assert package_and_prompts([], None, image) == (DEFAULT_PACKAGE, [])
    assert package_and_prompts(["sd15"], None, image) == (Path("sd15"), [])
    assert package_and_prompts([], Path("sd15"), image) == (Path("sd15"), [])
    with pytest.raises(ArgumentError, match="leave PROMPT out"):
        package_and_prompts(["a fox"], None, image)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["models/absent", "a fox"], "models/absent does not exist, or is not a folder; a package is a folder"),
        (["models/absent"], "models/absent does not exist"),
        (["my models/absent", "a fox"], "my models/absent does not exist"),
        (["sd15"], "no prompt .'sd15' is a folder, and was taken as PACKAGE.: triptych generate PACKAGE PROMPT"),
        ([], "no prompt: triptych generate PACKAGE PROMPT"),
    ],
)
def test_words_that_are_refused(folder: Path, words: list[str], message: str) -> None:
    with pytest.raises(TriptychError, match=message):
        package_and_prompts(words, None, None)


def test_without_a_default_package_one_is_needed(folder: Path) -> None:
    DEFAULT_PACKAGE.rmdir()
    with pytest.raises(PackageError, match=r"no package: sd16 is not a folder, and .* does not exist"):
        package_and_prompts(["sd16", "a fox"], None, None)
    with pytest.raises(PackageError, match="no package: models/emoji-package does not exist"):
        package_and_prompts(["a fox"], None, None)


def test_the_package_that_was_not_named_is_reported(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "DEFAULT_PACKAGE", package)
    monkeypatch.setattr("triptych.runtime.cli.images.DEFAULT_PACKAGE", package)
    command = ["generate", "red heart", "flower", "--steps", 1, "--seed", 1, "--out", tmp_path]
    status, out, err = run(*command, "--scheduler", "Euler a", "--scheduler-option", "steps_offset=2", capsys=capsys)
    assert status == 0
    assert [Path(line).name for line in out.splitlines()] == ["red-heart-1.png", "flower-1.png"]
    assert err.splitlines()[0] == f"package: {package}"
    settings = read_settings(tmp_path / "flower-1.png")
    assert (settings.scheduler, settings.scheduler_options) == ("Euler a", {"steps_offset": 2})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", 0], "--steps 0 must be a whole number, 1 or more"),
        (["--steps", 10**12], "--steps 1000000000000 must be"),
        (["--width", 100], "--width 100 must be a positive multiple of 8"),
        (["--noise", "dice"], "unknown noise source 'dice'"),
        (["--scheduler", "flow_euler"], "is for models of flow matching, and this one is of diffusion; allowed: ddim"),
        (["--scheduler", "Euler Karas"], "unknown scheduler 'Euler Karas'"),
        (["--scheduler-option", "beta_strat=1"], "PNDMScheduler has no option 'beta_strat'; did you mean beta_start"),
        (["--scheduler-option", "beta_start=small"], 'beta_start="small" is not supported; allowed: numbers from 0'),
        (["--scheduler-option", "num_train_timesteps=2147483648"], "allowed: whole numbers from 2 to 100000"),
        (["--scheduler-option", "beta_start"], "--scheduler-option 'beta_start': give KEY=VALUE"),
        (["--scheduler-option", "a=1", "--scheduler-option", "a=2"], "a is given twice, before as 1"),
        (["--upscale", 2, "--strength", 0.01, "--steps", 5], "--strength 0.01 leaves none of 5 steps"),
        (["--upscale", 0.5], "--upscale 0.5 is out of range"),
        (["--walk", 3, "--steps", 0], "--steps 0 must be"),
    ],
    ids=str,
)
def test_arguments_are_checked_before_graphs_are_loaded_and_folders_made(
    package: Path,
    tmp_path: Path,
    options: list[object],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("triptych.runtime.cli.generation.TextToImage.load", lambda *_, **__: pytest.fail("loaded"))
    monkeypatch.setattr("triptych.runtime.package.graphs.load_graph", lambda *_, **__: pytest.fail("loaded"))
    command = ["generate", package, "a fox", "an owl", "--out", tmp_path / "new", *options]
    assert message in refused(*command, capsys=capsys)
    assert not (tmp_path / "new").exists()
