"""Latents on the command line: a base model and its refiner, and noise from a file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import refused, run
from tests.support.tiny_package import write
from triptych.runtime import TextToImage
from triptych.runtime.image.pixels import read_settings

SEED, STEPS = 5, 6


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("base") / "base", "sdxl")


@pytest.fixture(scope="module")
def refiner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("refiner") / "refiner", "sdxl-refiner")


def test_base_and_refiner_are_those_of_python(
    base: Path, refiner: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latents, first, second = tmp_path / "latents.npy", tmp_path / "base.png", tmp_path / "refined.png"
    common = ["a fox", "--steps", STEPS, "--seed", SEED, "--num", 2]
    ended = ["--denoising-end", 0.5, "--save-latents", latents, "--out", first]
    status, out, _ = run("generate", base, *common, *ended, capsys=capsys)
    assert status == 0
    assert out.splitlines()[-1] == str(latents)
    resumed = ["--denoising-start", 0.5, "--latents", latents, "--out", second]
    assert run("generate", refiner, *common, *resumed, capsys=capsys)[0] == 0
    pipes = [TextToImage.load(package, device="cpu") for package in (base, refiner)]
    seeds = {"num_inference_steps": STEPS, "seed": SEED, "num_images_per_prompt": 2}
    handed_over = pipes[0]("a fox", **seeds, denoising_end=0.5).latents  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.load(latents), handed_over)
    expected = pipes[1]("a fox", image=handed_over, **seeds, denoising_start=0.5).images  # type: ignore[arg-type]
    for k, image in enumerate(expected):
        written = tmp_path / f"refined-a-fox-{SEED + k}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(written)), np.asarray(image))
        assert read_settings(written).denoising_start == 0.5


def test_latents_take_the_place_of_the_seeds_noise(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).standard_normal((1, 4, 16, 16)).astype(np.float32)
    np.save(tmp_path / "noise.npy", noise)
    command = ["generate", package, "a fox", "--steps", 2, "--latents", tmp_path / "noise.npy"]
    assert run(*command, "--out", tmp_path / "one.png", capsys=capsys)[0] == 0
    expected = TextToImage.load(package, device="cpu")("a fox", num_inference_steps=2, latents=noise).images[0]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "one.png")), np.asarray(expected))
    assert read_settings(tmp_path / "one.png").seed is None


def test_guidance_projection(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", package, "a fox", "--steps", 2, "--seed", 1, "--guidance-projection", "0.5,2,-0.25"]
    assert run(*command, "--out", tmp_path / "one.png", capsys=capsys)[0] == 0
    pipe = TextToImage.load(package, device="cpu")
    expected = pipe("a fox", num_inference_steps=2, seed=1, guidance_projection=(0.5, 2.0, -0.25)).images[0]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "one.png")), np.asarray(expected))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--latents", "missing.npy"], "missing.npy does not exist"),
        (["--latents", "text.npy"], "text.npy cannot be read as a .npy file"),
        (["--latents", "whole.npy"], "whole.npy holds int64 [1, 4, 16, 16]; allowed: latents, floating point"),
        (["--latents", "pickled.npy"], "pickled.npy cannot be read as a .npy file"),
        (["--latents", "several.npz"], "several.npz holds several arrays; allowed: latents"),
        (
            ["--latents", "small.npy"],
            "--latents have shape [1, 4, 8, 8]; these prompts and this size need [1, 4, 16, 16]",
        ),
        (["--latents", "nan.npy"], "--latents hold NaN or infinity"),
        (["--latents", "nan.npy", "an owl"], "--latents is for one PROMPT, not 2"),
        (["--save-latents", "x.npy", "an owl"], "--save-latents is for one PROMPT, not 2"),
        (["--save-latents", "x.png"], "--save-latents x.png: give a name that ends in .npy"),
        (["--save-latents", "file/x.npy"], "--save-latents file/x.npy: cannot write there"),
        (["--denoising-start", 0.5], "--denoising-start needs an image to start from; give --image as well"),
        (["--denoising-start", 1.5, "--latents", "fit.npy"], "--denoising-start 1.5 is out of range"),
        (
            ["--walk", 2, "--to-seed", 3, "--save-latents", "x.npy"],
            "--walk cannot be combined with --num, --grid, --upscale or --save-latents",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value)),
)
def test_bad_files_are_one_clear_line(
    package: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[object],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.npy").write_text("no array")
    Path("file").write_text("no folder")
    np.save("whole.npy", np.zeros((1, 4, 16, 16), np.int64))
    np.save("pickled.npy", np.array([{}]), allow_pickle=True)
    np.savez("several.npz", a=np.zeros(1), b=np.zeros(1))
    np.save("small.npy", np.zeros((1, 4, 8, 8), np.float32))
    np.save("fit.npy", np.zeros((1, 4, 16, 16), np.float32))
    np.save("nan.npy", np.full((1, 4, 16, 16), np.nan, np.float32))
    assert message in refused("generate", package, "a fox", "--steps", 2, *options, capsys=capsys)
    assert list(tmp_path.glob("*.png")) == []
    assert not Path("x.npy").exists()
