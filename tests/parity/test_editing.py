"""Editing by instruction against diffusers' InstructPix2Pix pipeline: same checkpoint, image, seed, fp32, CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionInstructPix2PixPipeline

from tests.parity.comparison import SEED, check, theirs
from tests.support.checkpoints import export_parts, make_checkpoint
from tests.support.command_line import run
from tests.support.images import example_image, mask
from triptych.benchmarks.components import image_arguments
from triptych.runtime import TextToImage
from triptych.runtime.denoising.guidance import Guidance
from triptych.runtime.errors import ArgumentError
from triptych.runtime.families.family import INSTRUCT_PIX2PIX
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.sampling import Sampler

STEPS = 5


@pytest.fixture(scope="module")
def folders(package: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint whose U-Net takes an image as extra channels, and its package."""
    folder = tmp_path_factory.mktemp("editing")
    checkpoint = make_checkpoint(folder / "checkpoint", kind=INSTRUCT_PIX2PIX.pipelines[0], unet={"in_channels": 8})
    return checkpoint, export_parts(checkpoint, package, folder / "package", ["unet"], dialect="cpu")


@pytest.fixture(scope="module")
def pipe(folders: tuple[Path, Path]) -> TextToImage:
    return TextToImage.load(folders[1], device="cpu")


@pytest.fixture(scope="module")
def bound(folders: tuple[Path, Path]) -> TextToImage:
    """The same as it runs on another device, where nothing crosses to the host."""
    pipe = TextToImage.load(folders[1], device="cpu")
    pipe._bound = True
    return pipe


@pytest.fixture(scope="module")
def reference(folders: tuple[Path, Path]) -> Any:
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(folders[0])
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize(
    ("count", "arguments"),
    [
        (1, {}),
        (1, {"image_guidance_scale": 2.5, "negative_prompt": "blurry", "image": example_image(150, 110)}),
        (2, {"image_guidance_scale": 1, "num_images_per_prompt": 2}),
        (2, {"prompt": ["as a fox", "as an owl"], "image": [example_image(seed=1), example_image(seed=2)]}),
        (1, {"guidance_scale": 1.0}),
    ],
    ids=["plain", "odd size", "two", "an image for each", "unguided"],
)
def test_editing_gives_the_image_of_diffusers(
    pipe: TextToImage, bound: TextToImage, reference: Any, count: int, arguments: dict[str, Any]
) -> None:
    asked = {"prompt": "make it snow", "image": example_image(), "num_inference_steps": STEPS, **arguments}
    expected = theirs(reference, count, **asked)
    for each in (pipe, bound):
        check(each(**asked, seed=SEED), *expected)


def test_what_is_left_out_is_what_the_pipeline_of_diffusers_takes(pipe: TextToImage, reference: Any) -> None:
    import inspect

    defaults = inspect.signature(reference.__call__).parameters
    for name in ("guidance_scale", "image_guidance_scale", "num_inference_steps"):
        assert getattr(pipe.family, name) == defaults[name].default


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "this package edits images by instruction; give image"),
        ({"image": example_image(), "mask_image": mask()}, "and no mask_image, strength or denoising_start"),
        ({"image": example_image(), "strength": 0.5}, "and no mask_image, strength or denoising_start"),
        (
            {"image": example_image(), "image_guidance_scale": 0.5},
            "image_guidance_scale=0.5; allowed: a number, 1 or more",
        ),
        ({"image": example_image(), "image_guidance_scale": "2"}, "image_guidance_scale='2'; allowed: a number"),
    ],
    ids=["no image", "mask", "strength", "below 1", "text"],
)
def test_what_it_does_not_take_is_one_clear_line(pipe: TextToImage, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        pipe("make it snow", num_inference_steps=1, **arguments)
    assert "\n" not in str(caught.value)


def test_other_models_take_no_guidance_of_images(package: Path) -> None:
    pipe = TextToImage.load(package, device="cpu")
    message = r"image_guidance_scale=1\.5: this model does not edit images; leave it out"
    with pytest.raises(ArgumentError, match=message):
        pipe("a fox", image=example_image(), image_guidance_scale=1.5, num_inference_steps=2)
    conditioning, noise = pipe.encode(["a fox"]), np.zeros((1, 4, 16, 16), np.float32)
    sampler = Sampler.from_config(pipe.package.scheduler_config(), 2)
    for pipe._bound in (False, True):
        with pytest.raises(ArgumentError, match=r"image_guidance_scale=1\.5: the denoiser does not take an image"):
            next(pipe.denoise(conditioning, conditioning, noise, sampler, Guidance(2.0, image_scale=1.5)))


def test_the_command_line_edits(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example_image().save(tmp_path / "image.png")
    out = tmp_path / "out.png"
    command = ["generate", folders[1], "make it snow", "--steps", 2, "--image", tmp_path / "image.png"]
    assert run(*command, "--image-guidance", 2, "--out", out, capsys=capsys)[0] == 0
    assert read_settings(out).image_guidance_scale == 2


def test_the_benchmark_knows_what_to_begin_from(pipe: TextToImage) -> None:
    assert pipe("a fox", num_inference_steps=2, **image_arguments(pipe, 64, 64)).images[0].size == (64, 64)
