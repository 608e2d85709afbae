"""Arguments and sources are checked in milliseconds, without PyTorch; files that are not what they seem are named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from triptych.export import arguments, export, exporter, precision
from triptych.export.arguments import Arguments
from triptych.export.checkpoint import open_checkpoint, with_vae
from triptych.export.components import components_of
from triptych.export.dialects import DIALECTS
from triptych.runtime.errors import SourceError, TriptychError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
CHECKED = """
import sys
from pathlib import Path
from triptych.export.arguments import Arguments
from triptych.runtime.errors import TriptychError
try:
    Arguments(sys.argv[1], sys.argv[2]).check()
except TriptychError as error:
    print(error)
print([name for name in ("torch", "diffusers", "transformers") if name in sys.modules])
"""


def test_names_are_those_of_the_tables() -> None:
    assert tuple(precision.PRECISIONS) == arguments.PRECISIONS
    assert tuple(arguments.DIALECTS) == tuple(DIALECTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "missing"}, "missing is neither a folder nor a hub id"),
        ({"precision": "fp99"}, "unknown precision 'fp99'"),
        ({"dialect": "klingon"}, "unknown operator set 'klingon'"),
        ({"dialect": "cpu", "precision": "fp16"}, "operator set cpu has no operators in fp16; allowed: "),
        ({"loras": [("absent.safetensors", 1.0)]}, r"the LoRA absent\.safetensors is neither a file"),
        ({"loras": [("owner/name", float("nan"))]}, "has weight nan; allowed: finite numbers"),
        ({"vae": "absent"}, "absent is neither a file, a folder nor a hub id"),
        ({"preview_decoder": "absent"}, "absent is neither"),
        ({"embeddings": ["absent.pt=<cat>"]}, r"absent\.pt does not exist"),
        ({"embeddings": ["word.ckpt"]}, r"word\.ckpt is not an embedding: give a \.safetensors, \.pt or \.bin file"),
        ({"prediction_type": "v"}, "prediction_type='v'; allowed: epsilon, v_prediction, sample"),
        ({"revision": "main"}, "is a folder; a revision"),
        ({"config": "stable-diffusion-1"}, "is a folder; a configuration"),
        ({"allow_low_quality": True}, "allow_low_quality is for precision int8"),
        ({"calibrated": True}, "a calibration is for precision int8"),
        ({"clip_skip": 1.5}, r"clip_skip=1\.5; allowed: whole numbers"),
        ({"without": ["text_encoder_2"]}, "without='text_encoder_2'; allowed: text_encoder_3"),
        ({"static": (2, 128)}, r"static=\(2, 128\); allowed: batch, height and width"),
        ({"source": "a\0b"}, "is neither a folder nor a hub id"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"source": checkpoint, "package": tmp_path / "package", **options}
    with pytest.raises(TriptychError, match=message) as error:
        Arguments(**given).check()
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["missing", "existing", "package", "fine"])
def test_the_check_imports_no_pytorch(checkpoint: Path, tmp_path: Path, kind: str) -> None:
    source, target = (
        {"missing": tmp_path / "no" / "such", "package": tmp_path / "p"}.get(kind, checkpoint),
        tmp_path / "t",
    )
    if kind == "package":
        (tmp_path / "p").mkdir()
        for name in ("model_index.json", "triptych.json"):
            (tmp_path / "p" / name).write_text('{"_class_name": "StableDiffusionPipeline"}')
    if kind == "existing":
        target = tmp_path / "package" / "unet"
        target.mkdir(parents=True)
        (target / "model.onnx").touch()
        target = target.parent
    done = subprocess.run(
        [sys.executable, "-c", CHECKED, str(source), str(target)], capture_output=True, text=True, check=True
    )
    expected = {"missing": "neither a folder", "existing": "--force", "package": "is a package already", "fine": ""}
    assert expected[kind] in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def copied(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint to spoil."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copied"))


def check(folder: Path) -> None:
    """Everything that an export does before it reads weights."""
    opened = open_checkpoint(folder)
    components_of(opened)
    opened.weights_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "unet/config.json",
        "vae/config.json",
        "scheduler/scheduler_config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ],
)
@pytest.mark.parametrize("kind", ["pointer", "pipe", "folder"])
def test_a_file_that_is_not_itself(copied: Path, name: str, kind: str) -> None:
    file = copied / name
    file.unlink()
    if kind == "pointer":
        file.write_text(POINTER)
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    with pytest.raises(SourceError) as error:
        check(copied)
    message = str(error.value)
    assert "\n" not in message
    assert file.name in message
    assert ("git lfs pull" in message) == (kind == "pointer")


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json"])
def test_a_tokenizer_of_pointers_is_found_before_anything_is_exported(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (copied / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
    (copied / "tokenizer" / name).write_text(POINTER)
    monkeypatch.setattr(exporter, "_write_package", lambda *_: pytest.fail("it exports"))
    with pytest.raises(SourceError, match=f"tokenizer/{name} is a pointer of Git LFS, .* run `git lfs pull`"):
        export(copied, tmp_path / "package", dialect="portable")
    assert not (tmp_path / "package").exists()


@pytest.mark.parametrize("name", ["vae.pt", "vae.ckpt"])
def test_a_vae_in_another_kind_of_file(checkpoint: Path, tmp_path: Path, name: str) -> None:
    torch.save({}, tmp_path / name)
    with pytest.raises(SourceError, match=f"{name} is not a .safetensors file"):
        with_vae(open_checkpoint(checkpoint), tmp_path / name)


def test_weights_in_a_variant_alone(copied: Path) -> None:
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".fp16.safetensors"))
    with pytest.raises(SourceError, match=r"has weights for unet in a variant alone, .*; give --variant fp16$"):
        open_checkpoint(copied).weights_bytes()


def test_weights_from_before_pytorch_1_6(copied: Path) -> None:
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    expected = load_file(file)
    file.unlink()
    torch.save(expected, file.with_suffix(".bin"), _use_new_zipfile_serialization=False)
    read = components_of(open_checkpoint(copied))["unet"]().module.get_submodule("net").state_dict()
    torch.testing.assert_close(dict(read), expected, rtol=0, atol=0)


@pytest.mark.parametrize("content", [b"", b"\x80\x02.", b"PK\x03\x04 not a zip", b"\0" * 100, b"[1, 2]"])
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_weights_that_are_none(copied: Path, suffix: str, content: bytes) -> None:
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    file.unlink()
    file.with_suffix(suffix).write_bytes(content)
    with pytest.raises(SourceError, match=f"unet/diffusion_pytorch_model{suffix}") as error:
        components_of(open_checkpoint(copied))["unet"]()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("places", [None, [], {}, {"a": 1}, {"a": "../other.safetensors"}])
def test_an_index_that_lists_no_shards(copied: Path, places: object) -> None:
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    file.unlink()
    file.with_name("diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(SourceError, match="lists no shards"):
        open_checkpoint(copied).weights_bytes()


@pytest.mark.parametrize(
    "config",
    [
        {"block_out_channels": "x"},
        {"in_channels": "four"},
        {"down_block_types": ["NoSuchBlock"]},
        {"attention_head_dim": {}},
        {"sample_size": "big"},
        {"cross_attention_dim": None},
    ],
    ids=str,
)
def test_configurations_of_which_no_module_is_built(copied: Path, config: dict[str, Any]) -> None:
    file = copied / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    with pytest.raises(SourceError) as error:
        components_of(open_checkpoint(copied))["unet"]()
    assert "\n" not in str(error.value)
    assert "unet" in str(error.value)
