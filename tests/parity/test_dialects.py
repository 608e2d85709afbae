"""Packages of other exporters run unchanged, and give the images of diffusers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from onnx import TensorProto, helper

from tests.parity.comparison import LATENTS_TOLERANCE, SEED, check, theirs
from tests.support.dialects import DIALECTS, HALF, in_dialect
from tests.support.graphs import write_graph
from tests.support.images import example_image
from triptych.runtime import TextToImage
from triptych.runtime.image.encoding import ENCODER
from triptych.runtime.package.package import open_package

STEPS = 5
HALF_LATENTS_DB = 40  # of final latents, where the U-Net takes and gives float16
ASKED: dict[str, Any] = {
    "prompt": "a red fox",
    "num_images_per_prompt": 2,
    "num_inference_steps": STEPS,
    "height": 136,  # explicit, because graphs without a config.json have no default
    "width": 104,
}


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def expected(reference: StableDiffusionPipeline) -> tuple[np.ndarray, np.ndarray]:
    return theirs(reference, 2, **ASKED)


@pytest.fixture(scope="module")
def folders(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The package in every dialect."""
    made = tmp_path_factory.mktemp("dialects")
    return {name: in_dialect(package, made / name, dialect) for name, dialect in DIALECTS.items()}


@pytest.mark.parametrize("bound", [False, True], ids=["on the host", "on the device"])
@pytest.mark.parametrize("name", DIALECTS)
def test_a_package_of_another_exporter_gives_the_image_of_diffusers(
    folders: dict[str, Path], expected: tuple[np.ndarray, np.ndarray], name: str, bound: bool
) -> None:
    pipe = TextToImage.load(folders[name], device="cpu")
    pipe._bound = bound
    unet = DIALECTS[name].graphs["unet"]
    _, kind, axes = unet.inputs["timestep"]
    given = pipe._graphs["unet"].inputs["timestep"]
    assert (given.dtype, given.shape) == (helper.tensor_dtype_to_np_dtype(kind), tuple(axes))
    assert open_package(folders[name]).manifest.absent
    assert (folders[name] / "unet" / "weights.pb").exists() == (unet.weights is not None)
    out = pipe(**ASKED, seed=SEED)
    if unet.inputs["sample"][1] != HALF:
        check(out, *expected)
        return
    noise, signal = np.mean((out.latents - expected[0]) ** 2), np.mean(expected[0] ** 2)
    assert 10 * np.log10(signal / noise) > HALF_LATENTS_DB


@pytest.mark.parametrize("name", ["diffusers", "optimum 1.22"])
def test_an_encoder_that_draws_is_taken_at_its_word(
    folders: dict[str, Path], reference: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What it draws is another at every run, and is not the seed's: diffusers is given the same."""
    pipe = TextToImage.load(folders[name], device="cpu")
    drawn: list[np.ndarray] = []
    encode = pipe.encode_image

    def encoding(*arguments: Any) -> np.ndarray:
        drawn.append(encode(*arguments))
        return drawn[-1]

    monkeypatch.setattr(pipe, "encode_image", encoding)
    asked: dict[str, Any] = {"prompt": "a fox", "num_inference_steps": STEPS, "strength": 0.7}
    outs = [pipe(**asked, image=example_image(), seed=SEED) for _ in range(2)]
    assert 1e-6 < np.abs(drawn[0] - drawn[1]).mean() < 1
    beginning = StableDiffusionImg2ImgPipeline(**reference.components, requires_safety_checker=False)
    beginning.set_progress_bar_config(disable=True)
    for out, latents in zip(outs, drawn, strict=True):
        expected, pixels = theirs(beginning, 1, **asked, image=torch.from_numpy(latents))
        check(out, expected, pixels)


def test_other_graphs_in_the_folder_are_left_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    """A safety checker, which diffusers' conversion exports too."""
    images = ["batch", "height", "width", "channels"]
    folder = tmp_path / "package"
    folder.mkdir()
    for entry in folders["diffusers"].iterdir():
        (folder / entry.name).symlink_to(entry)
    write_graph(
        folder / "safety_checker" / "model.onnx",
        [
            helper.make_node("Identity", ["images"], ["out_images"]),
            helper.make_node("IsNaN", ["clip_input"], ["has_nsfw_concepts"]),
        ],
        [("clip_input", TensorProto.FLOAT, images), ("images", TensorProto.FLOAT, images)],
        [("out_images", TensorProto.FLOAT, images), ("has_nsfw_concepts", TensorProto.BOOL, images)],
    )
    pipes = [TextToImage.load(each, device="cpu") for each in (folder, folders["diffusers"])]
    assert ENCODER in pipes[0].package.components
    assert "safety_checker" in pipes[0].package.components
    assert "safety_checker" not in pipes[0]._graphs.loaded
    first, second = (pipe("a fox", num_inference_steps=1, height=64, width=64, seed=1).latents for pipe in pipes)
    np.testing.assert_allclose(first, second, atol=LATENTS_TOLERANCE)
