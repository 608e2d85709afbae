"""Graphs of another component or another model are refused when they are loaded."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import tiny_package
from tests.support.tiny_package import KINDS, Writer, write
from triptych.runtime import TextToImage
from triptych.runtime.errors import PackageError

FLOAT, INTEGER = np.dtype(np.float32), np.dtype(np.int64)


@pytest.fixture
def copied(package: Path, tmp_path: Path) -> Path:
    """A package of the test's own."""
    shutil.copytree(package, tmp_path / "package")
    return tmp_path / "package"


def settle(folder: Path) -> None:
    """Write the sizes and digests of all files into the manifest."""
    manifest = json.loads((folder / "triptych.json").read_text())
    for group in (manifest["files"], *(each["files"] for each in manifest["components"].values())):
        for name in group:
            content = (folder / name).read_bytes()
            group[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "triptych.json").write_text(json.dumps(manifest))


def refused(folder: Path, memory: str = "fast") -> str:
    with pytest.raises(PackageError) as caught:
        TextToImage.load(folder, device="cpu", memory=memory)("x", num_inference_steps=1, seed=0)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("unet", "vae_decoder"),
        ("vae_decoder", "vae_encoder"),
        ("text_encoder", "unet"),
        ("vae_encoder", "text_encoder"),
    ],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_graphs_in_each_other_s_place(copied: Path, one: str, other: str, recorded: bool) -> None:
    first, second = (copied / name / "model.onnx" for name in (one, other))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    settle(copied)
    if not recorded:
        (copied / "triptych.json").unlink()
    message = refused(copied)
    assert any(f"{name}/model.onnx is not the {name} of this package: it has " in message for name in (one, other))


def surprise(graph: Writer) -> None:
    graph.take("surprise", FLOAT, ["batch_size", 2])


def another_output(graph: Writer) -> None:
    graph.give(graph.floats(1.0), "another", FLOAT, [])


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("unet", surprise, "it has an input surprise; allowed: sample, timestep, encoder_hidden_states"),
        ("text_encoder", surprise, "it has an input surprise; allowed: input_ids"),
        ("vae_decoder", surprise, "it has an input surprise; allowed: latent_sample"),
        ("unet", another_output, "it has the outputs out_sample"),
    ],
)
def test_an_input_or_output_too_many(
    copied: Path, name: str, change: Callable[[Writer], None], reason: str, recorded: bool, memory: str
) -> None:
    makers: dict[str, Callable[[], Writer]] = {
        "unet": lambda: tiny_package._unet(KINDS["stable-diffusion"]),
        "text_encoder": lambda: tiny_package._text_encoder(1, xl=False),
        "vae_decoder": tiny_package._vae_decoder,
    }
    graph = makers[name]()
    change(graph)
    (copied / name / "model.onnx").write_bytes(graph.to_bytes())
    settle(copied)
    if not recorded:
        (copied / "triptych.json").unlink()
    assert reason in refused(copied, memory)


def decoder(*, channels: int = 4, output: str = "sample", colours: int = 3, kind: np.dtype = FLOAT) -> bytes:
    graph = Writer("vae_decoder")
    latents = graph.take("latent_sample", kind, ["batch_size", channels, "h", "w"])
    picked = graph.node("Gather", latents, graph.integers(*range(colours)), axis=1)
    graph.give(picked, output, kind, ["batch_size", colours, "h", "w"])
    return graph.to_bytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            decoder(output="zzz"),
            r"it has no output sample [n, 3, height, width] of floating point numbers; its outputs",
        ),
        (decoder(channels=8), "it has the input latent_sample [batch_size, 8, h, w] float32; needed: [n, 4, height"),
        (decoder(colours=4), "it has the output sample [batch_size, 4, h, w] float32; needed: [n, 3, height"),
        (decoder(kind=INTEGER), "it has the input latent_sample [batch_size, 4, h, w] int64; needed: [n, 4, height"),
    ],
)
def test_a_decoder_of_another_form(copied: Path, content: bytes, reason: str) -> None:
    (copied / "vae_decoder" / "model.onnx").write_bytes(content)
    (copied / "triptych.json").unlink()
    assert reason in refused(copied)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["unet"]["inputs"].pop(), "components.unet is not the unet of this package: it has no input"),
        (lambda c: c["unet"]["inputs"][0]["shape"].__setitem__(1, 9), "the manifest says sample [batch_size, 9,"),
        (lambda c: c["unet"]["inputs"][0].update(dtype="float16"), "; the manifest says sample [batch_size, 4"),
        (lambda c: c["vae_encoder"]["outputs"][0].update(name="x"), "components.vae_encoder is not the vae_encoder"),
        (lambda c: c["vae_decoder"].update(c["vae_encoder"]), "components.vae_decoder is not the vae_decoder"),
    ],
)
def test_a_manifest_and_a_graph_that_differ(copied: Path, change: Callable[[Any], object], reason: str) -> None:
    manifest = json.loads((copied / "triptych.json").read_text())
    change(manifest["components"])
    (copied / "triptych.json").write_text(json.dumps(manifest))
    assert reason in refused(copied)


def test_channels_are_those_of_a_family(tmp_path: Path) -> None:
    """A denoiser of InstructPix2Pix in a package that says it is Stable Diffusion."""
    folder = write(tmp_path / "package", "instruct-pix2pix")
    (folder / "triptych.json").unlink()
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "StableDiffusionPipeline"}))
    assert refused(folder) == "unet takes 8 channels, and latents have 4; allowed: 4 or 9"


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_fits(kind: str, tmp_path: Path) -> None:
    TextToImage.load(write(tmp_path / "package", kind), device="cpu")


@pytest.mark.parametrize("memory", ["fast", "low"])
def test_a_decoder_of_another_factor(copied: Path, memory: str) -> None:
    (copied / "triptych.json").unlink()
    file = copied / "vae_decoder" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"block_out_channels": [4] * 3}))
    assert "vae_decoder has [128, 128] pixels for [16, 16] latents, and by block_out_channels" in refused(
        copied, memory
    )
