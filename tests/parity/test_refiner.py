"""SDXL's refiner, alone and after the base model, against the diffusers pipelines of both."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)

from tests.parity.comparison import SEED, check, theirs
from tests.parity.test_tasks import one_each
from tests.support.checkpoints import export_parts, make_checkpoint
from tests.support.command_line import run
from tests.support.images import example_image, mask
from tests.support.packages import linked
from triptych.benchmarks.components import image_arguments
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import components_of
from triptych.runtime import TextToImage
from triptych.runtime.cli.inspection import as_text, describe
from triptych.runtime.errors import ArgumentError, SourceError, TriptychError
from triptych.runtime.families.conditioning import POOLED, SIZES, TEXT
from triptych.runtime.families.family import STABLE_DIFFUSION_XL_REFINER
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.package.package import open_package

STEPS = 8
SHARE = 0.6
SCHEDULERS: dict[str, Any] = {
    "euler": EulerDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
    "ddim": DDIMScheduler,
    "heun": HeunDiscreteScheduler,
}


@pytest.fixture(scope="module")
def folders(xl_checkpoint: Path, xl_package: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A refiner's checkpoint and package, with the autoencoder of the base model, as the published one has it."""
    folder = tmp_path_factory.mktemp("refiner")
    checkpoint = make_checkpoint(folder / "checkpoint", "refiner")
    shutil.rmtree(checkpoint / "vae")
    (checkpoint / "vae").symlink_to(xl_checkpoint / "vae")
    parts = ("text_encoder_2", "unet")
    return checkpoint, export_parts(checkpoint, xl_package, folder / "package", parts, dialect="cpu")


@pytest.fixture(scope="module")
def base(xl_package: Path) -> TextToImage:
    return TextToImage.load(xl_package, device="cpu")


@pytest.fixture(scope="module")
def refiner(folders: tuple[Path, Path]) -> TextToImage:
    return TextToImage.load(folders[1], device="cpu")


@pytest.fixture(scope="module")
def references(xl_checkpoint: Path, folders: tuple[Path, Path]) -> tuple[Any, Any]:
    """The same two in diffusers."""
    pipes = (
        StableDiffusionXLPipeline.from_pretrained(xl_checkpoint),
        StableDiffusionXLImg2ImgPipeline.from_pretrained(folders[0]),
    )
    for pipe in pipes:
        pipe.set_progress_bar_config(disable=True)
    return pipes


CALLS: dict[str, tuple[int, dict[str, Any]]] = {
    "plain": (1, {"prompt": "a red fox"}),
    "unguided": (1, {"prompt": "a red fox", "guidance_scale": 1.0, "height": 136, "width": 104}),
    "wide": (2, {"prompt": "two, wide!", "num_images_per_prompt": 2, "height": 128, "width": 192}),
    "batch": (2, {"prompt": ["a cat", "a dog"], "negative_prompt": ["grey", "blurry"]}),
}


@pytest.mark.parametrize(
    ("scheduler", "call"),
    [
        *((scheduler, "plain") for scheduler in SCHEDULERS),
        ("euler", "unguided"),
        ("dpmpp_2m", "wide"),
        ("ddim", "batch"),
    ],
)
def test_the_refiner_goes_on_where_the_base_stops(
    base: TextToImage, refiner: TextToImage, references: tuple[Any, Any], scheduler: str, call: str
) -> None:
    """Latents, and images of both, the first of which are noisy; the refiner takes more steps in the same share."""
    count, asked = CALLS[call]
    own = [reference.scheduler for reference in references]
    for reference in references:
        reference.scheduler = SCHEDULERS[scheduler].from_config(reference.scheduler.config)
    sizes = ("height", "width")
    rest = {name: value for name, value in asked.items() if name not in sizes}
    try:
        stopped = theirs(references[0], count, num_inference_steps=STEPS, denoising_end=SHARE, **asked)
        begin = torch.from_numpy(stopped[0])
        done = theirs(references[1], count, image=begin, num_inference_steps=STEPS + 3, denoising_start=SHARE, **rest)
    finally:
        for reference, before in zip(references, own, strict=True):
            reference.scheduler = before
    given = base(**asked, num_inference_steps=STEPS, denoising_end=SHARE, scheduler=scheduler, seed=SEED)
    check(given, *stopped)
    out = refiner(
        **rest,
        image=given.latents,
        num_inference_steps=STEPS + 3,
        denoising_start=SHARE,
        scheduler=scheduler,
        seed=SEED,
    )
    check(out, *done)


@pytest.mark.parametrize(
    ("count", "asked"),
    [
        (1, {}),
        (1, {"strength": 0.6, "guidance_scale": 1.0, "image": example_image(136, 104)}),
        (2, {"strength": 0.9, "num_images_per_prompt": 2, "negative_prompt": "grey"}),
        (1, {"aesthetic_score": 9.0, "negative_aesthetic_score": 1.0, "strength": 0.9}),
        (1, {"original_size": (96, 200), "crops_coords_top_left": (8, 30), "strength": 0.9}),
        (1, {"denoising_start": 0.5}),
    ],
    ids=lambda value: "-".join(value) or "plain" if isinstance(value, dict) else "",
)
def test_image_to_image_of_the_refiner_is_that_of_diffusers(
    refiner: TextToImage, references: tuple[Any, Any], count: int, asked: dict[str, Any]
) -> None:
    asked = {"prompt": "a fox", "image": example_image(), "num_inference_steps": STEPS, **asked}
    check(refiner(**asked, seed=SEED), *theirs(references[1], count, **asked))


def test_latents_take_noise_by_strength(refiner: TextToImage, references: tuple[Any, Any]) -> None:
    latents = np.random.default_rng(0).standard_normal((1, 4, 16, 24)).astype(np.float32)
    asked: dict[str, Any] = {"prompt": "a fox", "num_inference_steps": STEPS, "strength": 0.5}
    expected = theirs(references[1], 2, image=torch.from_numpy(latents), num_images_per_prompt=2, **asked)
    check(refiner(image=latents, num_images_per_prompt=2, **asked, seed=SEED), *expected)


def test_a_mask_is_handed_over_too(base: TextToImage, refiner: TextToImage, references: tuple[Any, Any]) -> None:
    painters = [StableDiffusionXLInpaintPipeline(**pipe.components, add_watermarker=False) for pipe in references]
    painters[1].register_to_config(requires_aesthetics_score=True, force_zeros_for_empty_prompt=False)
    for painter in painters:
        painter.set_progress_bar_config(disable=True)
    asked: dict[str, Any] = {"prompt": "an owl", "mask_image": mask(), "num_inference_steps": STEPS}
    asked["guidance_scale"] = 5.0  # for inpainting alone, diffusers would take 7.5
    first: dict[str, Any] = {"denoising_end": SHARE, "strength": 1.0}
    stopped = theirs(painters[0], 1, **one_each(asked | {"image": example_image()}, 1), **first)
    latents = torch.from_numpy(stopped[0])
    done = theirs(painters[1], 1, **asked, image=latents, denoising_start=SHARE, height=128, width=128)
    given = base(**asked, **first, image=example_image(), seed=SEED)
    check(given, *stopped)
    check(refiner(**asked, image=given.latents, denoising_start=SHARE, seed=SEED), *done)


def test_the_loop_on_the_device_goes_on_the_same(folders: tuple[Path, Path], refiner: TextToImage) -> None:
    bound = TextToImage.load(folders[1], device="cpu")
    bound._bound = True
    latents = np.random.default_rng(0).standard_normal((2, 4, 16, 16)).astype(np.float32)
    asked: dict[str, Any] = {"image": latents, "num_inference_steps": STEPS, "denoising_start": 0.5, "seed": 3}
    for end in (None, 0.8):
        expected, given = (
            pipe("a fox", **asked, num_images_per_prompt=2, denoising_end=end) for pipe in (refiner, bound)
        )
        np.testing.assert_allclose(given.latents, expected.latents, atol=1e-4 * expected.latents.std())


def test_what_is_left_out_is_what_the_pipeline_of_diffusers_takes(
    refiner: TextToImage, references: tuple[Any, Any]
) -> None:
    import inspect

    defaults = inspect.signature(references[1].__call__).parameters
    family = refiner.family
    assert family is STABLE_DIFFUSION_XL_REFINER
    assert family.guidance_scale == defaults["guidance_scale"].default
    assert family.num_inference_steps == defaults["num_inference_steps"].default
    assert family.strength == defaults["strength"].default
    assert set(refiner.model.inputs) == {"sample", "timestep", TEXT, POOLED, SIZES}
    assert refiner.model.inputs[SIZES].shape[1] == 5


@pytest.mark.parametrize("name", ["StableDiffusionXLPipeline", "ORTStableDiffusionXLImg2ImgPipeline"])
def test_a_refiner_is_told_by_its_flag(
    folders: tuple[Path, Path], refiner: TextToImage, tmp_path: Path, name: str
) -> None:
    package = linked(folders[1], tmp_path / "package", _class_name=name)
    asked: dict[str, Any] = {"image": example_image(), "num_inference_steps": 4, "seed": 3}
    np.testing.assert_array_equal(
        TextToImage.load(package, device="cpu")("a fox", **asked).latents, refiner("a fox", **asked).latents
    )
    without = linked(folders[1], tmp_path / "without", _class_name=name, requires_aesthetics_score=False)
    with pytest.raises(TriptychError, match=r"no text_encoder/model\.onnx|tokenizer"):
        TextToImage.load(without, device="cpu")


def test_a_base_that_calls_itself_a_refiner_is_refused(xl_checkpoint: Path, tmp_path: Path) -> None:
    wrong = linked(xl_checkpoint, tmp_path / "wrong", requires_aesthetics_score=True)
    opened = open_checkpoint(wrong)
    assert opened.family is STABLE_DIFFUSION_XL_REFINER
    with pytest.raises(SourceError, match="has 6 values of micro-conditioning, a stable-diffusion-xl-refiner has 5"):
        components_of(opened)["unet"]()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "this package is a refiner, which starts from an image; give image: an image, or latents of the"),
        ({"denoising_start": 0.5}, "denoising_start needs an image to start from; give image as well"),
        ({"image": np.zeros((1, 3, 16, 16), np.float32)}, r"the latents in image have shape \[1, 3, 16, 16\]"),
        ({"image": np.full((1, 4, 16, 16), np.nan, np.float32)}, "the latents in image hold NaN or infinity"),
        ({"image": np.zeros((2, 4, 16, 16), np.float32)}, "image has 2 images for 1 prompts"),
        ({"image": np.zeros((1, 4, 16, 16), np.float32), "height": 64}, r"need \[1, 4, 8, 16\]"),
        ({"image": np.zeros((1, 4, 16, 16), np.float32), "mask_image": mask(64, 64)}, "mask_image is 64x64 pixels"),
        ({"image": example_image(), "denoising_start": 0.5, "strength": 0.5}, "strength and denoising_start exclude"),
        (
            {"image": example_image(), "denoising_start": 0.5, "latents": np.zeros((1, 4, 16, 16), np.float32)},
            "latents are the starting noise, which denoising_start does not use; leave it out",
        ),
        ({"image": example_image(), "denoising_end": 0.0}, "denoising_end=0.0 is out of range"),
        (
            {"image": example_image(), "target_size": (8, 8)},
            r"target_size=\[8, 8\]: this model does not take it; leave it out",
        ),
        (
            {"image": example_image(), "aesthetic_score": "high"},
            "aesthetic_score='high'; allowed: a number, for example 6",
        ),
        (
            {"image": example_image(), "prompt_2": "b"},
            "prompt_2: this package has one text encoder, which reads prompt",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_bad_use_is_one_clear_line(refiner: TextToImage, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(TriptychError, match=message) as caught:
        refiner("a fox", num_inference_steps=4, **asked)
    assert "\n" not in str(caught.value)


def test_the_base_takes_no_score(base: TextToImage) -> None:
    for name in ("aesthetic_score", "negative_aesthetic_score"):
        score: dict[str, Any] = {name: 6.0}
        with pytest.raises(ArgumentError, match=f"^{name}=6.0: this model does not take it; leave it out"):
            base("a fox", **score)


def test_settings_travel_with_the_image(
    base: TextToImage, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = base("a fox", num_inference_steps=4, denoising_end=0.5, seed=5)
    out.images[0].save(tmp_path / "noisy.png")
    again = base(**read_settings(tmp_path / "noisy.png").arguments())
    np.testing.assert_array_equal(again.latents, out.latents)
    example_image().save(tmp_path / "image.png")
    command = ["generate", folders[1], "a fox", "--image", tmp_path / "image.png", "--steps", 4, "--strength", 0.5]
    scores = ["--aesthetic", 7, "--negative-aesthetic", 2]
    assert run(*command, *scores, "--out", tmp_path / "out.png", capsys=capsys)[0] == 0
    settings = read_settings(tmp_path / "out.png")
    assert (settings.aesthetic_score, settings.negative_aesthetic_score) == (7, 2)
    with pytest.raises(ArgumentError, match="generated from another image: it cannot be reproduced"):
        settings.arguments()


def test_its_package_says_what_it_is(folders: tuple[Path, Path]) -> None:
    assert "text_encoder_2" in as_text(describe(open_package(folders[1])))
    index = json.loads((folders[1] / "model_index.json").read_text())
    assert index["text_encoder"] == [None, None]
    assert index["requires_aesthetics_score"] is True


def test_the_benchmark_knows_what_to_begin_from(refiner: TextToImage) -> None:
    assert refiner("a fox", num_inference_steps=2, **image_arguments(refiner, 64, 64)).images[0].size == (64, 64)
