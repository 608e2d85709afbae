"""Errors name options as they are typed."""

from pathlib import Path

import pytest

from tests.support.command_line import refused
from triptych.runtime.cli.commands import cli
from triptych.runtime.cli.options import IMAGE_OPTIONS
from triptych.runtime.cli.wording import in_words_of

GENERATE = cli.commands["generate"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("num_inference_steps=0; allowed: 1 or more", "--steps 0; allowed: 1 or more"),
        (
            "denoising_end=0.2 must be above denoising_start=0.5",
            "--denoising-end 0.2 must be above --denoising-start 0.5",
        ),
        ("strength and denoising_start exclude each other", "--strength and --denoising-start exclude each other"),
        ("timesteps and sigmas exclude each other", "--timesteps and --sigmas exclude each other"),
        ("guidance_interval=[5.0, 1.5]; allowed: two", "--guidance-interval 5,1.5; allowed: two"),
        ("original_size=[64, 2000000]; allowed", "--original-size 2000000x64; allowed"),
        (
            "this is a refiner; give image: an image, or latents",
            "this is a refiner; give --image: an image, or latents",
        ),
        (
            "upscale starts from a prompt and a seed; leave image out",
            "--upscale starts from a prompt and a seed; leave --image out",
        ),
        (
            "DDIMScheduler takes no sigmas; it takes eta, timesteps",
            "DDIMScheduler takes no --sigmas; it takes --eta, --timesteps",
        ),
        ("unknown scheduler 'seed=1 num_inference_steps'", "unknown scheduler 'seed=1 num_inference_steps'"),
        ("the noise of this image has a seed", "the noise of this image has a seed"),
        ("beta_start=0.1 is not supported", "beta_start=0.1 is not supported"),
        ("load it with device=cuda", "load it with --device cuda"),
    ],
    ids=str,
)
def test_arguments_are_named_by_their_options(message: str, expected: str) -> None:
    assert in_words_of(GENERATE, message, {}) == expected


@pytest.mark.parametrize("name", IMAGE_OPTIONS)
def test_every_argument_has_its_option(name: str) -> None:
    said = in_words_of(GENERATE, f"{name}=1 is not allowed", {})
    assert said.startswith("--")
    assert said.endswith(" 1 is not allowed")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "a fox", "-n", 0], "--num 0; allowed: a whole number, 1 or more"),
        (["generate", "a fox", "--guidance-interval", "2,1"], "--guidance-interval 2,1; allowed: two noise levels"),
        (["generate", "a fox", "--mask", "mask.png"], "--mask needs an image to start from; give --image as well"),
        (
            ["generate", "a fox", "--prompt-2", "owl"],
            "--prompt-2: this package has one text encoder, which reads prompt",
        ),
        (["generate", "a fox", "--upscale", 2, "--guidance", "2,3"], "give --guidance as one number"),
        (["bench", "--steps", 0], "--steps 0"),
    ],
    ids=str,
)
def test_errors_of_commands_name_their_options(
    words: list[object],
    message: str,
    package: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.new("L", (64, 64)).save("mask.png")
    if words[0] == "bench":
        pytest.importorskip("psutil")
        pytest.importorskip("rich")
    assert message in refused(words[0], package, *words[1:], capsys=capsys)


def test_an_error_of_stored_settings_names_the_settings(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("triptych", '{"num_inference_steps": 0}')
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    assert "--" not in refused("generate", package, "--from-image", tmp_path / "a.png", capsys=capsys)
