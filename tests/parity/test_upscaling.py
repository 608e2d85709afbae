"""Upscale and refine, against diffusers' text-to-image, Pillow's Lanczos, and diffusers' image-to-image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image

from tests.parity.comparison import SEED, check, theirs
from tests.support.command_line import refused, run
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError
from triptych.runtime.families.parts import body_of
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.request import Request
from triptych.runtime.tasks.upscaling import STRENGTH, upscaled

STEPS = 6


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    return TextToImage.load(package, device="cpu")


@pytest.mark.parametrize(
    ("count", "asked", "size"),
    [
        (1, {"upscale": 1.5}, (192, 192)),
        (2, {"upscale": 1.3, "strength": 0.8, "height": 104, "width": 136, "num_images_per_prompt": 2}, (136, 176)),
    ],
    ids=["plain", "two, wide"],
)
def test_both_passes_are_those_of_diffusers(
    pipe: TextToImage, checkpoint: Path, count: int, asked: dict[str, Any], size: tuple[int, int]
) -> None:
    first = StableDiffusionPipeline.from_pretrained(checkpoint)
    second = StableDiffusionImg2ImgPipeline(**first.components, requires_safety_checker=False)
    for each in (first, second):
        each.set_progress_bar_config(disable=True)
    common: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": STEPS, "negative_prompt": "grey"}
    given = {name: value for name, value in asked.items() if name not in ("upscale", "strength")}
    generators = [torch.Generator("cpu").manual_seed(SEED + k) for k in range(count)]
    small = first(**common, **given, generator=generators).images
    large = [image.resize(size[::-1], Image.Resampling.LANCZOS) for image in small]
    again = {"image": large, "strength": asked.get("strength", STRENGTH), "num_images_per_prompt": count}
    expected = theirs(second, count, **common, **again)
    own = {name: value for name, value in asked.items() if name != "upscale"}
    request = Request(**common, **own, seed=[SEED + k for k in range(count)])
    out = upscaled(pipe, request, asked["upscale"])
    assert [image.size[::-1] for image in out.images] == [size] * count
    assert out.seeds == [SEED + k for k in range(count)]
    check(out, *expected)


def test_the_settings_make_it_again(
    package: Path, pipe: TextToImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "one.png", tmp_path / "two.png"
    command = ["generate", package, "a fox", "--steps", 4, "--seed", 3, "--upscale", 1.5, "--strength", 0.75]
    status, _, err = run(*command, "--out", first, capsys=capsys)
    assert status == 0
    assert "vae_encoder" in err
    settings = read_settings(first)
    assert (settings.width, settings.height, settings.upscale, settings.strength) == (128, 128, 1.5, 0.75)
    with Image.open(first) as written:
        assert written.size == (192, 192)
        assert "Size: 128x128" in written.info["parameters"]
        assert "Denoising strength: 0.75, Hires upscale: 1.5, Hires upscaler: Lanczos" in written.info["parameters"]
        out = upscaled(pipe, Request("a fox", num_inference_steps=4, seed=3, strength=0.75), 1.5)
        np.testing.assert_array_equal(np.asarray(written), np.asarray(out.images[0]))
    assert run("generate", package, "--from-image", first, "--out", second, capsys=capsys)[0] == 0
    np.testing.assert_array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))
    assert read_settings(second) == settings


def test_both_passes_run_on_the_same_graphs(pipe: TextToImage) -> None:
    sessions = {name: body_of(graph).session for name, graph in pipe._graphs.loaded.items()}
    steps: list[int] = []
    out = upscaled(pipe, Request("a fox", num_inference_steps=4), 1.25, lambda step: steps.append(step.index))
    assert steps == [0, 1, 2, 3, 4, 0, 1, 2]  # of PNDM, one call more than steps
    assert {name: body_of(pipe._graphs.loaded[name]).session for name in sessions} == sessions
    assert out.timings["unet"] > 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"upscale": 1.0}, "upscale=1 is out of range; allowed: above 1"),
        ({"upscale": float("nan")}, "upscale=nan is out of range"),
        ({"upscale": 2, "strength": 0}, "strength=0 is out of range; allowed: above 0, to 1"),
        (
            {"upscale": 2, "image": Image.new("RGB", (64, 64))},
            "upscale starts from a prompt and a seed; leave image",
        ),
        ({"upscale": 2, "latents": np.zeros((1, 4, 16, 16), np.float32)}, "a prompt and a seed; leave latents out"),
        ({"upscale": 2, "guidance_scale": [7.0] * 5}, "upscale runs two passes .* guidance_scale as one number"),
        ({"upscale": 2, "height": 100}, "height=100 must be a positive multiple of 8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_bad_use_is_one_clear_line(pipe: TextToImage, asked: dict[str, Any], message: str) -> None:
    own = {name: value for name, value in asked.items() if name != "upscale"}
    request = Request("a fox", num_inference_steps=4, **own)
    with pytest.raises(ArgumentError, match=message) as caught:
        upscaled(pipe, request, asked["upscale"])
    assert "\n" not in str(caught.value)


def test_fixed_shapes_make_one_size(static_package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", static_package, "a fox", "--upscale", 2, "--out", tmp_path / "out.png"]
    assert "--height 288: this package was exported with static shapes, --height 144 only" in refused(
        *command, capsys=capsys
    )
    assert not (tmp_path / "out.png").exists()
