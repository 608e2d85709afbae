"""Variants of weights, the hub, another VAE: files that are read or requested, and their record."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file

from tests.export.components.test_tiny_autoencoder import make_tiny
from tests.support.command_line import run
from tests.support.hub import COMMIT, serving
from triptych.benchmarks.checkpoints.original_layout import write_original
from triptych.export import exporter
from triptych.export.checkpoint import Checkpoint, open_checkpoint, with_loras, with_preview_decoder, with_vae
from triptych.export.components import components_of
from triptych.runtime.errors import SourceError

LORA = "pytorch_lora_weights.safetensors"
HUB_ID = "someone/some-model"
NAMES = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}


@pytest.fixture(scope="module")
def variants(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint with weights in fp16 beside the plain ones, the U-Net's in two shards; the VAE has them not."""
    folder = Path(shutil.copytree(checkpoint, tmp_path_factory.mktemp("variants") / "tiny"))
    for component in ("text_encoder", "unet"):
        weights = {
            key: each.half() for key, each in load_file(folder / component / f"{NAMES[component]}.safetensors").items()
        }
        if component == "text_encoder":
            save_file(weights, folder / component / "model.fp16.safetensors")
            continue
        keys = sorted(weights)
        shards = {f"{NAMES[component]}.fp16-0000{part + 1}-of-00002.safetensors": keys[part::2] for part in (0, 1)}
        for name, held in shards.items():
            save_file({key: weights[key] for key in held}, folder / component / name)
        index = {"weight_map": {key: name for name, held in shards.items() for key in held}}
        (folder / component / f"{NAMES[component]}.safetensors.index.fp16.json").write_text(json.dumps(index))
    shutil.copy(
        folder / "unet" / f"{NAMES['unet']}.safetensors", folder / "unet" / f"{NAMES['unet']}.non_ema.safetensors"
    )
    torch.save({}, folder / "unet" / f"{NAMES['unet']}.bin")
    (folder / "README.md").write_text("A model.")
    return folder


@pytest.fixture
def requested(variants: Path, tmp_path: Path) -> Iterator[list[str]]:
    """The files that are downloaded from a hub with that checkpoint into an empty cache."""
    with serving(variants, HUB_ID, tmp_path / "cache") as names:
        yield names


def state(checkpoint: Checkpoint, component: str) -> dict[str, torch.Tensor]:
    return components_of(checkpoint)[component]().module.state_dict()


def test_a_variant_is_read_and_the_plain_weights_where_it_is_not(variants: Path, checkpoint: Path) -> None:
    opened, plain = open_checkpoint(variants, variant="fp16"), open_checkpoint(checkpoint)
    assert opened.details == {"variant": "fp16"}
    for component in ("text_encoder", "unet", "vae_decoder"):
        ours, theirs = state(opened, component), state(plain, component)
        if component != "vae_decoder":
            theirs = {key: weight.half() for key, weight in theirs.items()}
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    vae = plain.parts["vae"].weights_bytes()
    assert opened.weights_bytes() - vae == pytest.approx((plain.weights_bytes() - vae) / 2, rel=0.05)


def test_a_variant_that_is_not_there_is_named_with_those_that_are(variants: Path, checkpoint: Path) -> None:
    with pytest.raises(SourceError, match=r"^tiny has no weights in a variant bf16: there are fp16, non_ema and the"):
        open_checkpoint(variants, variant="bf16")
    with pytest.raises(SourceError, match=r"^tiny has no weights in a variant bf16: it has the plain weights alone$"):
        open_checkpoint(checkpoint, variant="bf16")


def test_of_a_hub_id_nothing_is_downloaded_that_is_not_read(variants: Path, requested: list[str]) -> None:
    opened = open_checkpoint(HUB_ID, "main")
    assert (opened.name, opened.revision, opened.details) == (HUB_ID, COMMIT, {})
    weights = {f"{component}/{stem}.safetensors" for component, stem in NAMES.items()}
    assert {name for name in requested if "model." in name and name != "model_index.json"} == weights
    assert opened.weights_bytes() == open_checkpoint(variants).weights_bytes()
    others = {f"{component}/config.json" for component in NAMES} | {
        "model_index.json",
        "scheduler/scheduler_config.json",
    }
    assert {name for name in requested if not name.startswith("tokenizer/")} == weights | others
    assert len(requested) == len(set(requested))


def test_a_variant_of_a_hub_id(requested: list[str]) -> None:
    opened = open_checkpoint(HUB_ID, variant="fp16")
    assert opened.details == {"variant": "fp16"}
    assert sorted(name for name in requested if name.endswith((".safetensors", ".bin", "index.fp16.json"))) == [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_a_hub_id_without_the_variant_is_not_downloaded(requested: list[str]) -> None:
    with pytest.raises(SourceError, match=rf"^{HUB_ID} has no weights in a variant bf16: there are fp16, non_ema and"):
        open_checkpoint(HUB_ID, variant="bf16")
    assert not [name for name in requested if name.endswith((".safetensors", ".bin"))]


def test_of_a_family_that_is_not_supported_nothing_more_is_downloaded(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"large")
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    with serving(tmp_path, "someone/other", tmp_path / "cache") as names:
        with pytest.raises(SourceError, match="someone/other is a KandinskyPipeline, which is not supported"):
            open_checkpoint("someone/other")
        assert names == ["model_index.json"]


def test_what_the_cache_holds_needs_no_network(requested: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    online = open_checkpoint(HUB_ID, variant="fp16")
    count = len(requested)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    offline = open_checkpoint(HUB_ID, variant="fp16")
    assert (offline.path, offline.weights_bytes()) == (online.path, online.weights_bytes())
    with pytest.raises(SourceError, match=r"in a variant bf16: there are fp16(, non_ema)? and the plain weights"):
        open_checkpoint(HUB_ID, variant="bf16")
    assert len(requested) == count


@pytest.fixture(scope="module")
def other_vae(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """An AutoencoderKL of the checkpoint's shape with other weights and another scaling factor."""
    folder = tmp_path_factory.mktemp("other") / "vae-ft"
    config = json.loads((checkpoint / "vae" / "config.json").read_text()) | {"scaling_factor": 0.5}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        AutoencoderKL.from_config(config).save_pretrained(folder)
    return folder


def decoder(weights: Path) -> dict[str, torch.Tensor]:
    """What a package's decoder should hold of an autoencoder's file."""
    return {key: each for key, each in load_file(weights).items() if key.startswith(("decoder.", "post_quant_conv."))}


def check_decoder(checkpoint: Checkpoint, weights: Path) -> None:
    ours = {
        key.replace("quant.", "post_quant_conv.", 1): each for key, each in state(checkpoint, "vae_decoder").items()
    }
    torch.testing.assert_close(ours, decoder(weights), rtol=0, atol=0)


def test_another_vae_from_a_folder(checkpoint: Path, other_vae: Path) -> None:
    opened = with_vae(open_checkpoint(checkpoint), other_vae)
    check_decoder(opened, other_vae / "diffusion_pytorch_model.safetensors")
    assert opened.config("vae")["scaling_factor"] == 0.5
    assert opened.details == {"vae": {"name": "vae-ft", "revision": None}}


def test_another_vae_from_one_file_of_either_layout(checkpoint: Path, other_vae: Path, tmp_path: Path) -> None:
    weights = other_vae / "diffusion_pytorch_model.safetensors"
    folder = Path(shutil.copytree(checkpoint, tmp_path / "other"))
    shutil.copy(weights, folder / "vae" / weights.name)
    original = write_original(folder, tmp_path / "whole.safetensors")  # the VAE of another checkpoint
    prefix = "first_stage_model."
    bare = {key.removeprefix(prefix): each for key, each in load_file(original).items() if key.startswith(prefix)}
    save_file(bare, tmp_path / "bare.safetensors")
    for file in (weights, original, tmp_path / "bare.safetensors"):
        opened = with_vae(open_checkpoint(checkpoint), file)
        check_decoder(opened, weights)
        assert opened.config("vae") == open_checkpoint(checkpoint).config("vae")
        assert opened.details["vae"].keys() == {"name", "sha256"}
        assert opened.details["vae"]["name"] == file.name


def test_a_tiny_vae_is_said_in_the_index(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = make_tiny(tmp_path / "taesd")
    every = exporter.components_of
    monkeypatch.setattr(exporter, "components_of", lambda opened: {"vae_decoder": every(opened)["vae_decoder"]})
    status, _, err = run("export", checkpoint, tmp_path / "package", "--vae", tiny, capsys=capsys)
    assert status == 0, err
    index, manifest, config = (
        json.loads((tmp_path / "package" / name).read_text())
        for name in ("model_index.json", "triptych.json", "vae_decoder/config.json")
    )
    assert index["vae"] == ["diffusers", AutoencoderTiny.__name__]
    assert manifest["source"]["vae"] == {"name": "taesd", "revision": None}
    assert config["scaling_factor"] == 1.0
    _, shown, _ = run("inspect", tmp_path / "package", capsys=capsys)
    assert "\nvae: taesd\n" in shown


def test_a_vae_and_a_lora_from_the_hub(other_vae: Path, checkpoint: Path, tmp_path: Path) -> None:
    served = Path(shutil.copytree(other_vae, tmp_path / "served"))
    weights = served / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, served / "diffusion_pytorch_model.fp16.safetensors")
    save_file({"unet.x.lora_A.weight": torch.ones(1, 2), "unet.x.lora_B.weight": torch.ones(2, 1)}, served / LORA)
    with serving(served, "someone/vae", tmp_path / "cache") as names:
        opened = with_vae(open_checkpoint(checkpoint), "someone/vae")
        assert sorted(names) == ["config.json", weights.name]
        (lora,) = with_loras(opened, [("someone/vae", 1.0)]).loras
        assert (lora.name, list(lora.layers["unet"])) == (LORA, ["x"])
    assert opened.details["vae"] == {"name": "someone/vae", "revision": COMMIT}
    check_decoder(opened, other_vae / "diffusion_pytorch_model.safetensors")


def test_what_is_no_vae_for_the_checkpoint_is_refused(checkpoint: Path, other_vae: Path, tmp_path: Path) -> None:
    opened = open_checkpoint(checkpoint)
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "x.safetensors")
    (tmp_path / "unet").mkdir()
    shutil.copy(checkpoint / "unet" / "config.json", tmp_path / "unet")
    sources: list[tuple[Any, str]] = [
        (tmp_path / "x.safetensors", r"x\.safetensors is not a VAE: it has no decoder\.conv_in among its 1 tensors"),
        (tmp_path / "no.safetensors", r"no\.safetensors is neither a folder nor a hub id"),
        (checkpoint, "is not an autoencoder: it has no config.json"),
        (tmp_path / "unet", "is a UNet2DConditionModel; as VAE, give an AutoencoderKL or AutoencoderTiny"),
        (make_tiny(tmp_path / "wide", latent_channels=16), "decodes latents of 16 channels; those of tiny have 4"),
    ]
    for source, message in sources:
        with pytest.raises(SourceError, match=message):
            with_vae(opened, source)


def test_all_of_them_together(checkpoint: Path, other_vae: Path, tmp_path: Path) -> None:
    """Each adds its own, and keeps what the others have added."""
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    lora = {f"{name}.lora_down.weight": torch.ones(1, 56), f"{name}.lora_up.weight": torch.ones(56, 1)}
    save_file(lora, tmp_path / "lora.safetensors")
    file = write_original(checkpoint, tmp_path / "sd.safetensors")
    opened = with_vae(open_checkpoint(file, config=checkpoint), other_vae)
    opened = with_loras(opened, [(tmp_path / "lora.safetensors", 2.0)])
    opened = with_preview_decoder(opened, make_tiny(tmp_path / "tiny"))
    assert list(opened.source()) == ["name", "revision", "sha256", "configuration", "vae", "loras"]
    assert opened.parts.keys() == {"text_encoder", "unet", "vae", "preview_decoder"}
    key = "net.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    added = state(opened, "unet")[key] - state(open_checkpoint(checkpoint), "unet")[key]
    torch.testing.assert_close(added, torch.full_like(added, 2.0), rtol=0, atol=1e-6)
