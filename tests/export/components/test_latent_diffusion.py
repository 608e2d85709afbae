"""Export of the original latent diffusion model: as a whole, in each operator set, and its refusals."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.checkpoints import export_parts, make_checkpoint
from tests.support.hub import serving
from triptych.benchmarks.checkpoints.architectures import ARCHITECTURES
from triptych.export import export
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import components_of
from triptych.export.dialects import DIALECTS, declared_operators
from triptych.export.dialects.operators import MULTI_HEAD_ATTENTION
from triptych.export.graph import count_operators
from triptych.export.verification.parity import reference_cases
from triptych.runtime.cli.inspection import as_text, describe
from triptych.runtime.errors import ArgumentError, SourceError
from triptych.runtime.families.family import LATENT_DIFFUSION
from triptych.runtime.package.package import open_package


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("latent-diffusion") / "ldm-vq", "ldm-vq")


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it at once, in float16 for CUDA: graphs of fixed shapes, which take the least time."""
    return export(source, tmp_path_factory.mktemp("whole") / "package", dialect="cuda", precision="fp16")


def test_a_whole_export(whole: Path) -> None:
    opened = open_package(whole)
    list(opened.verify())
    manifest = opened.manifest.recorded
    assert manifest["family"] == LATENT_DIFFUSION.name
    assert list(manifest["components"]) == ["text_encoder", "unet", "vae_decoder", "vae_encoder"]
    assert manifest["static"] == {"batch": 2, "height": 128, "width": 128}
    assert {"tokenizer.json", "vocab.txt", "tokenizer_config.json"} <= {
        file.name for file in (whole / "tokenizer").iterdir()
    }
    assert "LDMTextToImagePipeline" in (whole / "model_index.json").read_text()
    assert "kept in fp32: float16 would take other codes than the nearest" in as_text(describe(opened))


def test_a_decoder_with_codes_is_kept_in_float32(whole: Path) -> None:
    components = json.loads((whole / "triptych.json").read_text())["components"]
    types = {name: facts["inputs"][0]["dtype"] for name, facts in components.items()}
    assert types == {
        "text_encoder": "int64",
        "unet": "float16",
        "vae_decoder": "float32",
        "vae_encoder": "float16",
    }
    assert components["text_encoder"]["outputs"][0]["dtype"] == "float16"
    assert components["vae_decoder"]["kept_in_fp32"] == "float16 would take other codes than the nearest"
    assert components["vae_decoder"]["parity"]["db"] > 80
    assert components["vae_encoder"]["outputs"][0]["name"] == "latent_sample"


def test_cpu_declares_attention_in_every_layer(source: Path) -> None:
    for name, count in {"text_encoder": 3, "vae_decoder": 1}.items():
        component = components_of(open_checkpoint(source))[name]()
        component = replace(component, module=DIALECTS["cpu"].rewrite(component.module))
        assert declared_operators(component)[MULTI_HEAD_ATTENTION] == count


def test_portable_emits_standard_operators_alone(source: Path, whole: Path, tmp_path: Path) -> None:
    parts = ["text_encoder", "vae_decoder"]
    portable = export_parts(source, whole, tmp_path / "portable", parts, dialect="portable", precision="fp16")
    for name in parts:
        assert not [operator for operator in count_operators(portable / name / "model.onnx") if "::" in operator]


def test_latents_to_verify_with_lie_near_codes_and_not_on_them(source: Path) -> None:
    """A rounded distance cannot take another code then; and a graph that takes none cannot pass."""
    component = components_of(open_checkpoint(source))["vae_decoder"]()
    cases, module = reference_cases(component), component.module
    assert isinstance(module.codes, torch.Tensor)
    assert isinstance(module.decoder, torch.nn.Module)
    book = module.codes.numpy()
    for case in cases:
        latents = case.inputs["latent_sample"].transpose(0, 2, 3, 1)
        distances = np.sort(np.linalg.norm(latents[..., None, :] - book, axis=-1), axis=-1)
        assert (distances[..., 0] > 0).all()
        assert (distances[..., 1] > 2.9 * distances[..., 0]).all()
        unquantized = module.decoder(torch.from_numpy(case.inputs["latent_sample"]))[0].numpy()
        assert np.abs(unquantized - case.outputs["sample"]).max() > 0.01


def test_full_size_has_the_parameters_of_the_published_checkpoint() -> None:
    """Its U-Net has 872.3 million, which CompVis' own code prints when it loads it."""
    from diffusers import UNet2DConditionModel

    full = ARCHITECTURES["ldm"][1]
    with torch.device("meta"):
        unet = UNet2DConditionModel(**full["unet"])
    assert sum(weight.numel() for weight in unet.parameters()) == pytest.approx(872.3e6, rel=1e-4)


def spoilt(source: Path, folder: Path, file: str, **changes: Any) -> Path:
    shutil.copytree(source, folder)
    config = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("bert/config.json", {"model_type": "bert"}, "a text encoder of type bert is not supported; allowed: ldmbert"),
        (
            "unet/config.json",
            {"_class_name": "UNet2DModel"},
            "a UNet2DModel is not supported: it has no text conditioning",
        ),
        ("vqvae/config.json", {"norm_type": "spatial"}, "a VQModel with norm_type='spatial' is not supported"),
        ("bert/config.json", {"d_model": 48}, "has weights that do not fit its configuration"),
    ],
)
def test_what_is_of_another_kind_is_refused(
    source: Path, tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    opened = open_checkpoint(spoilt(source, tmp_path / "other", file, **changes))
    component = {"bert": "text_encoder", "unet": "unet", "vqvae": "vae_decoder"}[file.split("/")[0]]
    with pytest.raises(SourceError, match=message) as caught:
        components_of(opened)[component]()
    assert "\n" not in str(caught.value)


def test_of_a_hub_id_its_own_folders_are_downloaded(source: Path, tmp_path: Path) -> None:
    with serving(source, "somebody/ldm", tmp_path / "cache") as requested:
        opened = open_checkpoint("somebody/ldm")
    weights = {"bert/model.safetensors", "unet/diffusion_pytorch_model.safetensors"}
    weights |= {"vqvae/diffusion_pytorch_model.safetensors"}
    assert {name for name in requested if name.endswith(".safetensors")} == weights
    assert opened.parts.keys() == {"text_encoder", "unet", "vae"}
    assert opened.weights_bytes() == open_checkpoint(source).weights_bytes()


@pytest.mark.parametrize("folder", ["bert", "vqvae"])
def test_a_folder_that_is_missing_is_named_as_in_the_checkpoint(source: Path, tmp_path: Path, folder: str) -> None:
    copy = shutil.copytree(source, tmp_path / "copy")
    shutil.rmtree(copy / folder)
    with pytest.raises(SourceError, match=f"it has no {folder}/config.json"):
        open_checkpoint(copy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_skip": 1}, "clip_skip=1 is for models with a CLIP text encoder; ldm-vq has another text encoder"),
        ({"embeddings": ["word.safetensors"]}, "an embedding is for models with a CLIP text encoder"),
        ({"precision": "int8", "dialect": "cpu"}, "int8 is made for stable-diffusion, not latent-diffusion"),
    ],
)
def test_what_is_made_for_other_families_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    for name in options.get("embeddings", ()):
        shutil.copy(source / "unet" / "diffusion_pytorch_model.safetensors", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=message) as caught:
        export(source, tmp_path / "package", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "package").exists()
