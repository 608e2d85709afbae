"""AutoencoderTiny in place of the autoencoder, and beside it for previews."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline

from triptych.export import export, exporter
from triptych.export.checkpoint import open_checkpoint, with_preview_decoder
from triptych.export.precision import FP32_FLOOR_DB
from triptych.runtime import TextToImage
from triptych.runtime.errors import SourceError

STEPS = 3
PIXEL_TOLERANCE = 1  # levels of 255
WIDTHS = (8, 8, 8, 8)  # the module itself wants them equal


def make_tiny(folder: Path, latent_channels: int = 4, scaling_factor: float = 1.0) -> Path:
    """A random AutoencoderTiny of factor 8 in `folder`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderTiny(
            encoder_block_out_channels=WIDTHS,
            decoder_block_out_channels=WIDTHS,
            num_encoder_blocks=(1, 1, 1, 1),
            num_decoder_blocks=(1, 1, 1, 1),
            latent_channels=latent_channels,
            scaling_factor=scaling_factor,
        ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny"), scaling_factor=0.8)


@pytest.fixture(scope="module")
def tiny_checkpoint(checkpoint: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of all tests with that autoencoder as its own."""
    folder = Path(shutil.copytree(checkpoint, tmp_path_factory.mktemp("checkpoint") / "own"))
    shutil.rmtree(folder / "vae")
    shutil.copytree(tiny, folder / "vae")
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"vae": ["diffusers", "AutoencoderTiny"]}))
    return folder


@pytest.fixture(scope="module")
def autoencoders_only() -> Iterator[None]:
    """Export what is tested here, and nothing that takes longer."""
    every = exporter.components_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            exporter,
            "components_of",
            lambda opened: {name: load for name, load in every(opened).items() if name not in ("text_encoder", "unet")},
        )
        yield


@pytest.fixture(scope="module")
def exported(
    tiny_checkpoint: Path, tiny: Path, autoencoders_only: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Decoder, encoder and preview decoder, all of the tiny autoencoder."""
    return export(tiny_checkpoint, tmp_path_factory.mktemp("exported") / "p", preview_decoder=tiny)


@pytest.fixture(scope="module")
def pipe(exported: Path, package: Path, tmp_path_factory: pytest.TempPathFactory) -> TextToImage:
    """They and the other components of the package of all tests."""
    whole = tmp_path_factory.mktemp("whole")
    for folder in (exported, package):
        for entry in folder.iterdir():
            if entry.name != "triptych.json" and not (whole / entry.name).exists():
                os.symlink(entry, whole / entry.name)
    return TextToImage.load(whole, device="cpu")


def test_each_graph_is_what_pytorch_computes(exported: Path) -> None:
    components = json.loads((exported / "triptych.json").read_text())["components"]
    assert components.keys() == {"vae_decoder", "vae_encoder", "preview_decoder"}
    assert all(facts["parity"]["db"] > FP32_FLOOR_DB for facts in components.values())
    (latents,) = components["vae_encoder"]["outputs"]
    assert (latents["name"], latents["shape"][1]) == ("latent_sample", 4)


def test_the_image_is_that_of_diffusers(pipe: TextToImage, tiny_checkpoint: Path) -> None:
    theirs = StableDiffusionPipeline.from_pretrained(tiny_checkpoint)
    theirs.set_progress_bar_config(disable=True)
    (expected,) = theirs(
        "a red fox", num_inference_steps=STEPS, generator=torch.Generator("cpu").manual_seed(5), output_type="np"
    ).images
    out = pipe("a red fox", num_inference_steps=STEPS, seed=5)
    pixels = np.asarray(out.images[0])
    assert pixels.std() > 1, "a flat image shows nothing"
    assert np.abs(pixels - (expected * 255).round()).max() <= PIXEL_TOLERANCE


def test_a_preview_is_the_image_of_a_step(pipe: TextToImage) -> None:
    previews: list[np.ndarray] = []
    out = pipe(
        ["a", "b"],
        num_inference_steps=STEPS,
        seed=5,
        scheduler="ddim",
        callback=lambda s: previews.append(pipe.preview(s)),
    )
    assert [preview.shape for preview in previews] == [(2, 128, 128, 3)] * STEPS
    last = np.stack([np.asarray(image) for image in out.images])  # the same decoder; DDIM's last step is x0 nearly
    assert np.abs(previews[-1].astype(int) - last).mean() < np.abs(previews[0].astype(int) - last).mean()


def test_the_preview_decoder_is_loaded_when_asked_for_and_stays(pipe: TextToImage) -> None:
    low = TextToImage.load(pipe.package.path, device="cpu", memory="low")
    held = []

    def look(step: object) -> None:
        before = set(low._graphs.loaded)
        low.preview(step)  # type: ignore[arg-type]
        held.append((before, set(low._graphs.loaded)))

    low("x", num_inference_steps=2, seed=0, scheduler="ddim", callback=look)
    both = {"unet", "preview_decoder"}
    assert held == [({"unet"}, both), (both, both)]


def test_previews_of_a_package_without_preview_decoder_are_the_colours_of_latents(package: Path) -> None:
    plain, previews = TextToImage.load(package, device="cpu"), []
    asked: dict[str, Any] = {"num_inference_steps": 2, "seed": 0, "scheduler": "ddim"}
    plain("x", **asked, callback=lambda step: previews.append(plain.preview(step)))
    assert [preview.shape for preview in previews] == [(1, 128, 128, 3)] * 2
    assert previews[-1].std() > 1, "a flat preview shows nothing"
    assert not np.array_equal(previews[0], previews[1])
    assert set(plain._graphs.loaded) == {"text_encoder", "unet", "vae_decoder"}


def test_what_cannot_preview_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    opened = open_checkpoint(checkpoint)
    for source, message in (
        (tmp_path, "is not an autoencoder: it has no config.json"),
        (checkpoint / "vae", "is a AutoencoderKL; for previews, give an AutoencoderTiny"),
        (make_tiny(tmp_path / "wide", latent_channels=16), "decodes latents of 16 channels; those of tiny have 4"),
    ):
        with pytest.raises(SourceError, match=message):
            with_preview_decoder(opened, source)
