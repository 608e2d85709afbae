"""Image-to-image and inpainting against diffusers: same checkpoint, image, seed, fp32, CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline
from PIL import Image

from tests.parity.comparison import SEED, check, theirs
from tests.support.checkpoints import export_parts, make_checkpoint
from tests.support.command_line import refused, run
from tests.support.dialects import FLOAT, Dialect, Edges, in_dialect
from tests.support.images import example_image, mask
from triptych.benchmarks.components import image_arguments
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError, SamplerError
from triptych.runtime.families.parts import body_of
from triptych.runtime.image.encoding import encode_pixels, shrunk
from triptych.runtime.image.pixels import read_settings

STEPS = 6


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    return TextToImage.load(package, device="cpu")


@pytest.fixture(scope="module")
def bound(package: Path) -> TextToImage:
    """The same as it runs on another device, where nothing crosses to the host."""
    return loop_on_the_device(package)


def loop_on_the_device(package: Path) -> TextToImage:
    pipe = TextToImage.load(package, device="cpu")
    pipe._bound = True
    return pipe


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Any:
    pipe = StableDiffusionImg2ImgPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def painter(reference: Any) -> Any:
    pipe = StableDiffusionInpaintPipeline(**reference.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize(
    ("count", "arguments"),
    [
        (1, {}),
        (1, {"strength": 1.0, "guidance_scale": 1.0}),
        (1, {"strength": 0.35, "image": example_image(150, 110)}),
        (2, {"num_images_per_prompt": 2, "image": example_image(104, 136)}),
        (1, {"image": example_image().convert("L").convert("RGB"), "negative_prompt": "grey"}),
    ],
    ids=["plain", "all of it", "odd size", "two", "grey"],
)
@pytest.mark.parametrize("scheduler", ["ddim", "dpmpp_2m"])
def test_image_to_image_gives_the_image_of_diffusers(
    pipe: TextToImage, reference: Any, scheduler: str, count: int, arguments: dict[str, Any]
) -> None:
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    asked = {"prompt": "a red fox", "image": example_image(), "num_inference_steps": STEPS, **arguments}
    own = reference.scheduler
    kind = {"ddim": DDIMScheduler, "dpmpp_2m": DPMSolverMultistepScheduler}[scheduler]
    reference.scheduler = kind.from_config(own.config)
    try:
        expected = theirs(reference, count, **asked)
    finally:
        reference.scheduler = own
    check(pipe(**asked, seed=SEED, scheduler=scheduler), *expected)


def test_the_scheduler_of_a_consistency_model_leaves_out_steps_as_any_other(pipe: TextToImage, reference: Any) -> None:
    """With LCM-LoRA, say; models that are consistency models themselves count strength in another way."""
    from diffusers import LCMScheduler

    asked: dict[str, Any] = {
        "prompt": "a red fox",
        "image": example_image(),
        "num_inference_steps": STEPS,
        "strength": 0.6,
    }
    own, reference.scheduler = reference.scheduler, LCMScheduler.from_config(reference.scheduler.config)
    try:
        expected = theirs(reference, 1, **asked)
    finally:
        reference.scheduler = own
    steps: list[float] = []
    out = pipe(**asked, seed=SEED, scheduler="lcm", callback=lambda step: steps.append(step.timestep))
    check(out, *expected)
    assert len(steps) == 3


def one_each(asked: dict[str, Any], count: int) -> dict[str, Any]:
    """An image for each generator: diffusers draws one of the encoder's distribution for all that share an image,
    by the first generator, so that the others differ from those of their own seeds."""
    return asked | {name: [asked[name]] * count for name in ("image", "mask_image")}


@pytest.mark.parametrize(
    ("count", "arguments"),
    [(1, {}), (1, {"strength": 0.6}), (2, {"num_images_per_prompt": 2, "guidance_scale": 1.0})],
    ids=["plain", "in part", "two"],
)
@pytest.mark.parametrize("scheduler", ["ddim", "unipc"])
def test_inpainting_with_a_plain_model_gives_the_image_of_diffusers(
    pipe: TextToImage, bound: TextToImage, painter: Any, scheduler: str, count: int, arguments: dict[str, Any]
) -> None:
    from diffusers import DDIMScheduler, UniPCMultistepScheduler

    asked = {
        "prompt": "an owl",
        "image": example_image(),
        "mask_image": mask(),
        "num_inference_steps": STEPS,
        **arguments,
    }
    own = painter.scheduler
    kind = {"ddim": DDIMScheduler, "unipc": UniPCMultistepScheduler}[scheduler]
    painter.scheduler = kind.from_config(own.config)
    try:
        expected = theirs(painter, count, **one_each(asked, count))
    finally:
        painter.scheduler = own
    for each in (pipe, bound):
        check(each(**asked, seed=SEED, scheduler=scheduler), *expected)


@pytest.fixture(scope="module")
def inpainting(package: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint whose U-Net takes mask and image latents as extra channels, and its package."""
    folder = tmp_path_factory.mktemp("inpainting")
    checkpoint = make_checkpoint(folder / "checkpoint", kind="StableDiffusionInpaintPipeline", unet={"in_channels": 9})
    return checkpoint, export_parts(checkpoint, package, folder / "package", ["unet"], dialect="cpu")


def test_the_benchmark_knows_what_an_inpainting_model_begins_from(inpainting: tuple[Path, Path]) -> None:
    pipe = TextToImage.load(inpainting[1], device="cpu")
    assert pipe("a fox", num_inference_steps=2, **image_arguments(pipe, 64, 64)).images[0].size == (64, 64)


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_an_inpainting_model_gives_the_image_of_diffusers(inpainting: tuple[Path, Path], strength: float) -> None:
    reference = StableDiffusionInpaintPipeline.from_pretrained(inpainting[0])
    reference.set_progress_bar_config(disable=True)
    asked: dict[str, Any] = {
        "prompt": "an owl",
        "image": example_image(),
        "mask_image": mask(),
        "num_inference_steps": STEPS,
        "strength": strength,
        "num_images_per_prompt": 2,
    }
    pipe = TextToImage.load(inpainting[1], device="cpu")
    expected = theirs(reference, 2, **one_each(asked, 2))
    for each in (pipe, loop_on_the_device(inpainting[1])):
        check(each(**asked, seed=SEED), *expected)
    with pytest.raises(ArgumentError, match="holds an inpainting model; give image and mask_image"):
        pipe("an owl", image=example_image())


def test_an_inpainting_model_is_known_by_its_configuration_where_channels_are_left_open(
    inpainting: tuple[Path, Path], tmp_path: Path
) -> None:
    """As optimum wrote them before May 2024."""
    axes = ["batch_size", "num_channels", "height", "width"]
    unet = Edges({"sample": ("sample", FLOAT, axes)}, {"out_sample": ("out_sample", FLOAT, axes)})
    older = in_dialect(inpainting[1], tmp_path / "older", Dialect("ORTStableDiffusionInpaintPipeline", {"unet": unet}))
    asked: dict[str, Any] = {"image": example_image(), "mask_image": mask(), "num_inference_steps": 2, "seed": SEED}
    outs = [TextToImage.load(each, device="cpu")("an owl", **asked) for each in (inpainting[1], older)]
    np.testing.assert_allclose(outs[0].latents, outs[1].latents, atol=1e-4)


def test_one_set_of_graphs_serves_all_tasks(pipe: TextToImage) -> None:
    sessions = {name: body_of(graph).session for name, graph in pipe._graphs.loaded.items()}
    tasks: list[dict[str, Any]] = [{}, {"image": example_image()}, {"image": example_image(), "mask_image": mask()}, {}]
    for arguments in tasks:
        pipe("a fox", num_inference_steps=2, seed=1, **arguments)
    assert {name: body_of(pipe._graphs.loaded[name]).session for name in sessions} == sessions


def test_the_known_region_is_that_of_the_image(pipe: TextToImage) -> None:
    out = pipe("a fox", image=example_image(), mask_image=mask(), num_inference_steps=3, seed=SEED)
    other = pipe("an owl", image=example_image(), mask_image=mask(), num_inference_steps=3, seed=SEED)
    covered = shrunk(np.asarray(mask(), np.float32)[None, None] / 255 >= 0.5, 8)[0, 0]
    np.testing.assert_array_equal(out.latents[0][:, ~covered], other.latents[0][:, ~covered])
    assert not np.allclose(out.latents[0][:, covered], other.latents[0][:, covered])


def test_image_to_image_is_the_same_in_the_device_loop(pipe: TextToImage, bound: TextToImage) -> None:
    for arguments in ({}, {"mask_image": mask()}):
        asked: dict[str, Any] = {
            "image": example_image(),
            "num_inference_steps": 4,
            "seed": 3,
            "strength": 0.7,
            **arguments,
        }
        expected, given = (each("a red fox", **asked) for each in (pipe, bound))
        np.testing.assert_allclose(given.latents, expected.latents, atol=1e-4 * expected.latents.std())


def test_an_image_for_each_prompt(pipe: TextToImage) -> None:
    images = [example_image(seed=1), example_image(seed=2)]
    both = pipe(["a", "b"], image=images, num_inference_steps=2, seed=5, num_images_per_prompt=2)
    alone = pipe("b", image=images[1], num_inference_steps=2, seed=8)
    np.testing.assert_array_equal(both.latents[3:], alone.latents)


def test_an_encoder_that_gives_latents_is_taken_at_its_word() -> None:
    class Encoder:
        name = "vae_encoder"

        def __call__(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"latent_sample": arrays["sample"][:, :1, ::8, ::8]}

    pixels = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    encoder: Any = Encoder()
    np.testing.assert_array_equal(encode_pixels(encoder, pixels, []), pixels[:, :1, ::8, ::8])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"image": example_image().convert("F")},
            "image has pixels of floating point; allowed: whole numbers of 1 to 16 bits",
        ),
        ({"image": example_image(4, 100)}, "image is 4x100 pixels; allowed: 8x8 or more"),
        ({"image": [example_image()] * 2}, "image has 2 images for 1 prompts"),
        ({"image": "absent.png"}, "absent.png does not exist"),
        ({"image": b"fox.png"}, "image must be the name of a file, a Pillow image or an array, not bytes"),
        ({"image": np.zeros((8, 8, 3), np.int64)}, r"image is an array int64 \[8, 8, 3\]; allowed: uint8"),
        (
            {"image": example_image(), "mask_image": mask(64, 128)},
            "mask_image is 64x128 pixels; allowed: the size of image",
        ),
        ({"mask_image": mask()}, "mask_image needs an image to start from; give image as well"),
        ({"strength": 0.5}, "strength needs an image to start from; give image as well"),
        ({"image": example_image(), "strength": 1.5}, "strength=1.5 is out of range"),
        ({"image": example_image(), "height": 100}, "height=100 must be a positive multiple of 8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_bad_images_are_one_clear_line(pipe: TextToImage, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ArgumentError, SamplerError), match=message) as caught:
        pipe("a fox", num_inference_steps=4, **arguments)
    assert "\n" not in str(caught.value)


def test_the_command_line_reads_image_and_mask(
    package: Path, pipe: TextToImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example_image().save(tmp_path / "image.png")
    mask().save(tmp_path / "mask.png")
    command = ["generate", package, "a fox", "--steps", 3, "--seed", 4, "--out", tmp_path / "out.png"]
    files = ["--image", tmp_path / "image.png", "--mask", tmp_path / "mask.png", "--strength", 0.7]
    assert run(*command, *files, capsys=capsys)[0] == 0
    out = pipe("a fox", num_inference_steps=3, seed=4, image=example_image(), mask_image=mask(), strength=0.7)
    with Image.open(tmp_path / "out.png") as written:
        np.testing.assert_array_equal(np.asarray(written), np.asarray(out.images[0]))
    assert read_settings(tmp_path / "out.png").strength == 0.7
    assert "generated from another image: it cannot be reproduced" in refused(
        "generate", package, "--from-image", tmp_path / "out.png", "--out", tmp_path / "again.png", capsys=capsys
    )
    assert "does not exist" in refused(*command, "--image", tmp_path / "none.png", capsys=capsys)
    (tmp_path / "text.png").write_text("no image")
    assert "cannot be read as an image" in refused(*command, "--image", tmp_path / "text.png", capsys=capsys)


def test_image_latents_are_those_of_the_checkpoints_own_encoder(pipe: TextToImage, reference: Any) -> None:
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    generator = torch.Generator().manual_seed(3)
    with torch.inference_mode():
        expected = reference.vae.encode(pixels).latent_dist.sample(generator) * reference.vae.config.scaling_factor
    from triptych.runtime.noise import noise_source

    given = pipe.encode_image(pixels.numpy(), [noise_source("torch", 3).randn])
    np.testing.assert_allclose(given, expected.numpy(), atol=1e-4)
