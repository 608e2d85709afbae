"""Single files of the original layout: graphs as those of the folder, families recognised, other files refused."""

import hashlib
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from diffusers import UNet2DConditionModel
from onnxruntime import InferenceSession
from safetensors.torch import load_file, save_file
from torch import nn

from tests.support.checkpoints import make_checkpoint
from tests.support.command_line import refused
from triptych.benchmarks.checkpoints.original_layout import unet_name, write_original
from triptych.export import export, exporter
from triptych.export.checkpoint import open_checkpoint, with_vae
from triptych.export.checkpoint.folder import Folder
from triptych.export.checkpoint.loading import load_module
from triptych.export.checkpoint.single_file import CONFIGURATIONS, FilePart, configuration_of
from triptych.export.checkpoint.tensors import Tensors
from triptych.export.checkpoint.vocabulary import with_vocabulary
from triptych.export.components import components_of
from triptych.runtime.errors import SourceError
from triptych.runtime.text.clip import ClipTokenizer

PARAMETERS = {
    ("stable-diffusion-1", "unet"): 859_520_964,
    ("stable-diffusion-1", "text_encoder"): 123_060_480,
    ("stable-diffusion-1", "vae"): 83_653_863,
    ("stable-diffusion-2", "unet"): 865_910_724,
    ("stable-diffusion-2", "text_encoder"): 340_387_840,
    ("stable-diffusion-2", "vae"): 83_653_863,
    ("stable-diffusion-xl", "unet"): 2_567_463_684,
    ("stable-diffusion-xl", "text_encoder"): 123_060_480,
    ("stable-diffusion-xl", "text_encoder_2"): 694_659_840,
    ("stable-diffusion-xl", "vae"): 83_653_863,
    ("stable-diffusion-xl-refiner", "unet"): 2_259_526_660,
    ("stable-diffusion-xl-refiner", "text_encoder_2"): 694_659_840,
    ("stable-diffusion-xl-refiner", "vae"): 83_653_863,
}
"""As published; the other configurations are of the same shapes."""

SAME_SHAPE = {
    "sd-turbo": "stable-diffusion-2",
    "stable-diffusion-2-base": "stable-diffusion-2",
    "sdxl-turbo": "stable-diffusion-xl",
}
UNREAD_BYTES = 1 << 30
MOST_GROWTH_BYTES = UNREAD_BYTES // 8

IN = "model.diffusion_model.input_blocks.0.0.weight"
V2 = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
XL = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
REFINER = "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias"


@pytest.fixture(scope="module")
def single_file(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of all tests as one file."""
    return write_original(checkpoint, tmp_path_factory.mktemp("file") / "tiny.safetensors")


def build(folder: Path) -> nn.Module:
    """The module that a component's config.json describes."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = json.loads((folder / "config.json").read_text())
    kinds: dict[str, Any] = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}
    if folder.name in kinds:
        module: nn.Module = kinds[folder.name].from_config(config)
    else:
        texts = {kind.__name__: kind for kind in (CLIPTextModel, CLIPTextModelWithProjection)}
        module = texts[config["architectures"][0]](CLIPTextConfig(**config))
    return module


def write(file: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, file, metadata)
    return file


def test_the_graphs_are_those_of_the_folder(
    single_file: Path, checkpoint: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the U-Net's, which takes longest; the test after this one compares its weights."""
    every = exporter.components_of
    monkeypatch.setattr(
        exporter, "components_of", lambda opened: {name: load for name, load in every(opened).items() if name != "unet"}
    )
    exported = export(single_file, tmp_path / "package", dialect="cpu", config=checkpoint)
    ours, theirs = (json.loads((folder / "triptych.json").read_text()) for folder in (exported, package))
    assert ours["components"].keys() == theirs["components"].keys() - {"unet"}
    for name, facts in ours["components"].items():
        generator = np.random.default_rng(0)
        inputs = {
            key: generator.integers(0, 600, shape) if key == "input_ids" else generator.random(shape, np.float32)
            for key, shape in facts["default_shape"].items()
        }
        given, expected = (
            InferenceSession(folder / name / "model.onnx").run(None, inputs) for folder in (exported, package)
        )
        for array, own in zip(given, expected, strict=True):
            np.testing.assert_array_equal(array, own, name)
    assert ours["files"].keys() == theirs["files"].keys() - {"unet/config.json"}
    digest = hashlib.sha256(single_file.read_bytes()).hexdigest()
    origin = {"name": "tiny.safetensors", "revision": None, "sha256": digest, "configuration": "tiny"}
    assert ours["source"] == origin
    tokenizer = Path("tokenizer", "tokenizer.json")
    assert (exported / tokenizer).read_bytes() == (package / tokenizer).read_bytes()


def test_half_precision_and_ema_copies_are_read_as_the_plain_weights(
    single_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    tensors = load_file(single_file)
    ema = {"model_ema." + name.replace(".", ""): tensor.clone() for name, tensor in tensors.items() if "model." in name}
    other = {"cond_stage_model.transformer.text_projection.weight": torch.zeros(44, 44), "betas": torch.zeros(1000)}
    save_file({name: tensor.half() for name, tensor in (tensors | ema | other).items()}, tmp_path / "half.safetensors")
    halves = open_checkpoint(tmp_path / "half.safetensors", config=checkpoint)
    whole = open_checkpoint(checkpoint)
    for name in ("text_encoder", "unet", "vae"):
        ours, theirs = (each.load(name, partial(build, checkpoint / name)).state_dict() for each in (halves, whole))
        torch.testing.assert_close(ours, {key: weight.half() for key, weight in theirs.items()}, rtol=0, atol=0)
    assert whole.weights_bytes() == pytest.approx(2 * halves.weights_bytes(), rel=0.05)


def test_what_is_not_asked_for_takes_no_memory(single_file: Path, checkpoint: Path, tmp_path: Path) -> None:
    whole = single_file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    end = len(whole) - 8 - length
    header["model_ema.decay"] = {
        "dtype": "F32",
        "shape": [UNREAD_BYTES // 4],
        "data_offsets": [end, end + UNREAD_BYTES],
    }
    written = json.dumps(header).encode()
    large = tmp_path / "large.safetensors"
    with large.open("wb") as file:  # what is skipped at the end takes no place on the disk either
        file.write(len(written).to_bytes(8, "little") + written + whole[8 + length :])
        file.truncate(8 + len(written) + end + UNREAD_BYTES)
    before = psutil.Process().memory_info().rss
    part = FilePart(Tensors(large), "unet", Folder(checkpoint / "unet", "large"))
    module = load_module("large: unet", part, lambda: build(checkpoint / "unet"))
    assert psutil.Process().memory_info().rss - before < MOST_GROWTH_BYTES
    assert sum(parameter.numel() for parameter in module.parameters()) > 100_000


@pytest.mark.parametrize("place", [1, 0], ids=["base", "refiner"])
def test_encoders_of_openclip_and_two_of_them(tmp_path: Path, place: int) -> None:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = {"vocab_size": 90, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 3, "projection_dim": 24, "max_position_embeddings": 11}
    module = CLIPTextModelWithProjection(CLIPTextConfig(**config))
    module.save_pretrained(tmp_path / "text_encoder_2")
    file = tmp_path / "xl.safetensors"
    save_file(open_clip(module.state_dict(), f"conditioner.embedders.{place}.model."), file)
    part = FilePart(Tensors(file), "text_encoder_2", Folder(tmp_path / "text_encoder_2", "xl"))
    loaded = load_module("xl", part, lambda: build(tmp_path / "text_encoder_2"))
    torch.testing.assert_close(loaded.state_dict(), module.state_dict(), rtol=0, atol=0)


def open_clip(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The weights of an encoder of transformers as OpenCLIP has them."""
    rules = (
        (r"^(text_model\.)?embeddings\.position_embedding\.weight$", "positional_embedding"),
        (r"^(text_model\.)?embeddings\.token_embedding", "token_embedding"),
        (r"^(text_model\.)?final_layer_norm", "ln_final"),
        (r"^(text_model\.)?encoder\.layers\.", "transformer.resblocks."),
        (r"layer_norm(\d)", r"ln_\1"),
        (r"self_attn\.out_proj", "attn.out_proj"),
        (r"mlp\.fc1", "mlp.c_fc"),
        (r"mlp\.fc2", "mlp.c_proj"),
    )
    written = {}
    for name, tensor in state.items():
        if name == "text_projection.weight":
            written[f"{prefix}text_projection"] = tensor.T.contiguous()
        elif ".q_proj." in name:
            joined = torch.cat([state[name.replace(".q_proj.", f".{each}_proj.")] for each in "qkv"])
            for pattern, replacement in rules:
                name = re.sub(pattern, replacement, name)
            written[prefix + re.sub(r"self_attn\.q_proj\.", "attn.in_proj_", name)] = joined
        elif ".k_proj." not in name and ".v_proj." not in name:
            for pattern, replacement in rules:
                name = re.sub(pattern, replacement, name)
            written[prefix + name] = tensor
    return written


def test_a_u_net_conditioned_on_size_and_pooled_text(tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    config = json.loads((CONFIGURATIONS / "stable-diffusion-xl" / "unet" / "config.json").read_text())
    config |= {"block_out_channels": [8, 16, 24], "attention_head_dim": [1, 2, 3], "norm_num_groups": 4}
    config |= {"cross_attention_dim": 20, "addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 30}
    module = UNet2DConditionModel.from_config(config)
    module.save_pretrained(tmp_path / "unet")

    def original(name: str) -> str:
        name = re.sub(r"^add_embedding\.linear_(\d)", lambda found: f"label_emb.0.{2 * int(found[1]) - 2}", name)
        return unet_name(name).replace("output_blocks.2.1.conv", "output_blocks.2.2.conv")  # it attends there, too

    file = tmp_path / "xl.safetensors"
    save_file({"model.diffusion_model." + original(name): each for name, each in module.state_dict().items()}, file)
    part = FilePart(Tensors(file), "unet", Folder(tmp_path / "unet", "xl"))
    loaded = load_module("xl", part, lambda: build(tmp_path / "unet"))
    torch.testing.assert_close(loaded.state_dict(), module.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted({name for name, _ in PARAMETERS} | SAME_SHAPE.keys()))
def test_a_configuration_has_the_published_number_of_parameters(name: str) -> None:
    components = [component for of, component in PARAMETERS if of == SAME_SHAPE.get(name, name)]
    assert {folder.parent.name for folder in (CONFIGURATIONS / name).glob("*/config.json")} == set(components)
    for component in components:
        with torch.device("meta"):
            module = build(CONFIGURATIONS / name / component)
        expected = PARAMETERS[SAME_SHAPE.get(name, name), component]
        assert sum(parameter.numel() for parameter in module.parameters()) == expected, component


def test_every_configuration_is_whole_and_tested() -> None:
    shipped = {file.parent.name for file in CONFIGURATIONS.glob("*/single_file.json")}
    assert shipped == {name for name, _ in PARAMETERS} | SAME_SHAPE.keys()
    for name in shipped:
        index = json.loads((CONFIGURATIONS / name / "model_index.json").read_text())
        parts = {key for key, value in index.items() if isinstance(value, list) and value[0] is not None}
        assert parts == {folder.name for folder in (CONFIGURATIONS / name).iterdir() if folder.is_dir()}
        scheduler = json.loads((CONFIGURATIONS / name / "scheduler" / "scheduler_config.json").read_text())
        assert scheduler["_class_name"] == index["scheduler"][1]


def test_the_vocabulary_is_that_of_clip() -> None:
    with with_vocabulary(CONFIGURATIONS / "stable-diffusion-1" / "tokenizer") as folder:
        assert len(json.loads((folder / "vocab.json").read_text())) == 49_408
        tokenizer = ClipTokenizer.load(folder)
    (ids,) = tokenizer.encode(["a photo of a cat"]).ids
    assert ids.tolist() == [49406, 320, 1125, 539, 320, 2368, *[49407] * 71]
    assert not folder.exists()
    with with_vocabulary(CONFIGURATIONS / "stable-diffusion-2" / "tokenizer") as folder:
        assert np.unique(ClipTokenizer.load(folder).encode([""]).ids).tolist() == [0, 49406, 49407]  # padded with "!"


def test_a_file_without_configuration_is_exported_with_the_shipped_one(tmp_path: Path) -> None:
    file = write(tmp_path / "sd.safetensors", {IN: (320, 4, 3, 3)})
    opened = open_checkpoint(file)
    assert (opened.family.name, opened.details["configuration"]) == ("stable-diffusion", "stable-diffusion-1")
    assert opened.config("unet")["cross_attention_dim"] == 768
    with opened.tokenizer() as folder:
        assert ClipTokenizer.load(folder).end == (49_407,)
    with pytest.raises(SourceError, match=r"sd\.safetensors holds no text encoder"):
        opened.weights_bytes()


@pytest.mark.parametrize(
    ("shapes", "architecture", "expected"),
    [
        ({IN: (320, 4, 3, 3)}, None, "stable-diffusion-1"),
        ({IN: (320, 4, 3, 3), V2: (1, 1024)}, "stable-diffusion-v2-512", "stable-diffusion-2-base"),
        ({IN: (320, 4, 3, 3), V2: (1, 1024)}, "stable-diffusion-v2-768-v", "stable-diffusion-2"),
        ({IN: (320, 4, 3, 3), XL: (1280,)}, None, "stable-diffusion-xl"),
        ({IN: (384, 4, 3, 3), REFINER: (1280,)}, None, "stable-diffusion-xl-refiner"),
    ],
)
def test_families_are_told_apart(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], architecture: str | None, expected: str
) -> None:
    metadata = None if architecture is None else {"modelspec.architecture": architecture}
    tensors = Tensors(write(tmp_path / "file.safetensors", shapes, metadata))
    assert configuration_of(tensors, None).name == expected
    assert configuration_of(tensors, "sdxl-turbo").name == "sdxl-turbo"


@pytest.mark.parametrize(
    ("shapes", "expected", "pipeline", "parameters"),
    [
        ({IN: (320, 8, 3, 3)}, "stable-diffusion-1", "StableDiffusionInstructPix2PixPipeline", 859_532_484),
        ({IN: (320, 9, 3, 3)}, "stable-diffusion-1", "StableDiffusionInpaintPipeline", 859_535_364),
        (
            {IN: (320, 9, 3, 3), V2: (1, 1024)},
            "stable-diffusion-2-base",
            "StableDiffusionInpaintPipeline",
            865_925_124,
        ),
        (
            {IN: (320, 9, 3, 3), XL: (1280,)},
            "stable-diffusion-xl",
            "StableDiffusionXLInpaintPipeline",
            2_567_478_084,
        ),
    ],
    ids=["pix2pix", "1", "2", "xl"],
)
def test_what_a_model_is_for_is_told_by_the_channels_of_their_u_net(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], expected: str, pipeline: str, parameters: int
) -> None:
    opened = open_checkpoint(write(tmp_path / "file.safetensors", shapes))
    assert opened.details["configuration"] == expected
    assert opened.model_index["_class_name"] == pipeline
    with torch.device("meta"):
        module = UNet2DConditionModel.from_config(opened.config("unet"))
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters


def test_an_inpainting_model_in_one_file_is_that_of_the_folder(checkpoint: Path, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "folder", unet={"in_channels": 9})
    file = write_original(folder, tmp_path / "inpainting.safetensors")
    opened, own = open_checkpoint(file, config=checkpoint), open_checkpoint(folder)
    assert opened.config("unet") == own.config("unet")
    given, expected = (each.load("unet", partial(build, folder / "unet")).state_dict() for each in (opened, own))
    assert given["conv_in.weight"].shape[1] == 9
    torch.testing.assert_close(given, expected, rtol=0, atol=0)
    assert opened.model_index == {**own.model_index, "_class_name": "StableDiffusionInpaintPipeline"}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({IN: (1, 4, 3, 3), V2: (1, 1024)}, "give --config sd-turbo or --config stable-diffusion-2 or --config"),
        ({IN: (1, 5, 3, 3)}, "has a U-Net of 5 channels, which is not supported; known: 4, 8, 9$"),
        (
            {"lora_unet_mid_block_x.lora_up.weight": (1, 1)},
            "is a LoRA, not a checkpoint: export a checkpoint with --lora",
        ),
        ({"decoder.conv_in.weight": (1,)}, "is a VAE alone, not a checkpoint: export a checkpoint with --vae"),
        ({"first_stage_model.decoder.conv_in.weight": (1,)}, "is a VAE alone"),
        ({"emb_params": (2, 768)}, "is a textual-inversion embedding, not a checkpoint"),
        ({"<cat-toy>": (768,)}, "is a textual-inversion embedding, not a checkpoint"),
        ({IN: (1, 8, 3, 3), XL: (1280,)}, "is a StableDiffusionXLInstructPix2PixPipeline, which is not supported"),
        ({"conv.weight": (2, 2)}, "of no known family: .* among its 1 tensors, the first .* conv.weight"),
        ({}, "of no known family: .* among its 0 tensors$"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, shapes: dict[str, tuple[int, ...]], message: str) -> None:
    file = write(tmp_path / "some.safetensors", shapes)
    with pytest.raises(SourceError, match=message) as error:
        open_checkpoint(file)
    assert "some.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_and_configurations_that_cannot_be(single_file: Path, checkpoint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(single_file.read_bytes()[:-100])
    with pytest.raises(SourceError, match=r"broken\.safetensors cannot be read"):
        open_checkpoint(broken)
    (tmp_path / "old.ckpt").write_bytes(b"")
    with pytest.raises(SourceError, match=r"old\.ckpt is not a \.safetensors file"):
        open_checkpoint(tmp_path / "old.ckpt")
    with pytest.raises(SourceError, match=r"--config stable-difusion-1: .* did you mean stable-diffusion-1"):
        open_checkpoint(single_file, config="stable-difusion-1")
    with pytest.raises(SourceError, match=r"is a folder; a configuration .* goes with a single file"):
        open_checkpoint(checkpoint, config=checkpoint)
    with pytest.raises(SourceError, match=r"is a file; a variant .* goes with a folder or hub id"):
        open_checkpoint(single_file, variant="fp16")
    with pytest.raises(SourceError, match=r"has weights that do not fit its configuration, \d+ of them, first"):
        components_of(open_checkpoint(single_file, config="stable-diffusion-1"))["text_encoder"]()


def test_a_family_that_is_not_supported_is_named(single_file: Path, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    with pytest.raises(SourceError, match=r"^tiny\.safetensors with --config \S+ is a KandinskyPipeline, which is not"):
        open_checkpoint(single_file, config=tmp_path)


def test_a_file_without_vae_takes_one(single_file: Path, checkpoint: Path, tmp_path: Path) -> None:
    tensors = {name: each for name, each in load_file(single_file).items() if not name.startswith("first_stage_model.")}
    save_file(tensors, tmp_path / "bare.safetensors")
    opened = open_checkpoint(tmp_path / "bare.safetensors", config=checkpoint)
    with pytest.raises(SourceError, match=r"bare\.safetensors holds no VAE; give one with --vae"):
        opened.weights_bytes()
    assert with_vae(opened, checkpoint / "vae").weights_bytes() > 0


def test_the_command_line_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "some.safetensors", {"emb_params": (2, 768)})
    assert "is a textual-inversion embedding" in refused("export", file, tmp_path / "package", capsys=capsys)
    missing = refused("export", tmp_path / "no.safetensors", tmp_path / "package", capsys=capsys)
    assert "neither a folder nor a hub id (owner/name), nor a .safetensors file" in missing
