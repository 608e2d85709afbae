"""A package that exists is whole and has passed; whatever goes wrong leaves nothing, in one clear line."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from triptych.export import checkpoint as checkpoints
from triptych.export import export, exporter, precision
from triptych.export import publish as publishing
from triptych.export.graph import writing
from triptych.export.publish import publish
from triptych.runtime.errors import SourceError, TriptychError, VerificationError
from triptych.runtime.package.package import open_package

KILL_WITHIN_SECONDS = 120.0


def one_line(error: pytest.ExceptionInfo[TriptychError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def copied(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint to spoil."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copied"))


@pytest.fixture
def text_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export the text encoder alone, for tests of what surrounds the graphs."""
    every = exporter.components_of
    monkeypatch.setattr(exporter, "components_of", lambda opened: {"text_encoder": every(opened)["text_encoder"]})


def test_a_package_is_whole(package: Path, checkpoint: Path) -> None:
    opened = open_package(package)
    listed = opened.files()
    written = {str(file.relative_to(package)) for file in package.rglob("*") if file.is_file()}
    assert written == {*listed, "triptych.json", "README.md"}
    assert sorted(opened.verify()) == sorted(listed)
    assert not opened.manifest.absent
    assert opened.manifest.recorded["family"] == "stable-diffusion"
    assert opened.manifest.recorded["source"] == {"name": checkpoint.name, "revision": None}
    assert str(checkpoint.parent) not in (package / "triptych.json").read_text()
    assert opened.config("vae_decoder")["scaling_factor"] == opened.config("vae_encoder")["scaling_factor"]
    assert opened.scheduler_config()["_class_name"] == "PNDMScheduler"
    assert opened.model_index["safety_checker"] == [None, None]


def test_the_tokenizer_is_written_fast(package: Path, checkpoint: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    prompt = "A red fox, 3 houses; it's l'été!"
    fast = Tokenizer.from_file(str(package / "tokenizer" / "tokenizer.json")).encode(prompt).ids
    assert fast == AutoTokenizer.from_pretrained(checkpoint / "tokenizer")(prompt).input_ids


@pytest.mark.usefixtures("text_only")
def test_an_existing_package_is_replaced_only_when_told(checkpoint: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    stages: list[str] = []
    destination = export(checkpoint, tmp_path / "deep" / "package", report=lines.append, progress=stages.append)
    assert len(lines) == 3
    assert re.fullmatch(r"weights: text_encoder .* GB, unet .* GB, vae .* GB; about .* GB of memory", lines[0])
    assert "text_encoder" in lines[1]
    assert "dB" in lines[1]
    assert [stage for stage in stages if stage.startswith("text_encoder, 1 of 1: ")][0::3] == [
        "text_encoder, 1 of 1: loading weights",
        "text_encoder, 1 of 1: writing",
    ]
    assert "text_encoder, 1 of 1: verifying against PyTorch" in stages
    first = (destination / "text_encoder" / "model.onnx").stat().st_ino
    with pytest.raises(TriptychError) as error:
        export(checkpoint, destination)
    assert "--force" in one_line(error)
    assert (destination / "text_encoder" / "model.onnx").stat().st_ino == first
    export(checkpoint, destination, force=True)
    assert (destination / "text_encoder" / "model.onnx").stat().st_ino != first
    assert [file.name for file in destination.parent.iterdir()] == ["package"]


def test_force_never_deletes_what_is_no_package(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(TriptychError, match="is not a package"):
        export(checkpoint, tmp_path, force=True)
    with pytest.raises(TriptychError, match="is a file"):
        export(checkpoint, tmp_path / "diary.txt", force=True)
    with pytest.raises(TriptychError, match="is not a package"):
        export(checkpoint, checkpoint, force=True)
    assert (tmp_path / "diary.txt").read_text() == "dear diary"


@pytest.mark.usefixtures("text_only")
def test_below_the_floor_nothing_is_published(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = writing.save

    def save_altered(model: ir.Model, folder: Path, name: str) -> list[Path]:
        (embedding,) = [v for name, v in model.graph.initializers.items() if name.endswith("token_embedding.weight")]
        assert embedding.const_value is not None
        embedding.const_value = ir.tensor(embedding.const_value.numpy() * np.float32(1.001), name=embedding.name)
        return save(model, folder, name)

    monkeypatch.setattr(exporter, "save", save_altered)
    with pytest.raises(VerificationError) as error:
        export(checkpoint, tmp_path / "package")
    assert "text_encoder" in one_line(error)
    assert "floor of 80 dB" in one_line(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("text_only")
def test_an_old_package_survives_a_failed_replacement(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = export(checkpoint, tmp_path / "package")
    floor = precision.Precision("fp32", precision.torch.float32, 1000.0)
    monkeypatch.setitem(precision.PRECISIONS, "fp32", floor)
    with pytest.raises(VerificationError):
        export(checkpoint, destination, force=True)
    assert list(tmp_path.iterdir()) == [destination]
    assert list(open_package(destination).verify())


def test_a_killed_export_leaves_no_package_and_a_rerun_succeeds(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    destination = tmp_path / "package"
    code = "import sys; from triptych.export import export; export(sys.argv[1], sys.argv[2])"
    writer = subprocess.Popen([sys.executable, "-c", code, str(checkpoint), str(destination)])
    started = time.monotonic()
    while not list(tmp_path.glob(".package.partial/*/config.json")):
        assert writer.poll() is None
        assert time.monotonic() - started < KILL_WITHIN_SECONDS
        time.sleep(0.01)
    request.getfixturevalue("text_only")
    with pytest.raises(TriptychError, match="another export"):
        export(checkpoint, destination)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert not destination.exists()
    assert [file.name for file in tmp_path.iterdir()] == [".package.partial"]
    export(checkpoint, destination)
    assert list(tmp_path.iterdir()) == [destination]
    assert list(open_package(destination).verify())


def test_killed_between_the_two_renames_the_old_package_comes_back(tmp_path: Path) -> None:
    old = tmp_path / ".package.previous" / "unet"
    old.mkdir(parents=True)
    (old / "model.onnx").write_text("old")
    with pytest.raises(TriptychError, match="exists"), publish(tmp_path / "package", force=False, needed_bytes=0):
        pass
    assert (tmp_path / "package" / "unet" / "model.onnx").read_text() == "old"


def test_unwritable_folder(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir

    def refuse(path: Path, *options: Any, **named: Any) -> None:  # permissions would not stop root
        if path.parent == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        mkdir(path, *options, **named)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(TriptychError) as error:
        export(checkpoint, tmp_path / "package")
    assert f"{tmp_path / 'package'} cannot be written: Permission denied" in one_line(error)


def test_a_destination_that_cannot_be_made(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TriptychError) as error:
        export(checkpoint, tmp_path / "file" / "package")
    assert "file is not a folder" in one_line(error)


def test_too_little_space_is_said_before_anything_is_done(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1_000_000))
    with pytest.raises(TriptychError) as error:
        export(checkpoint, tmp_path / "package")
    assert "No space left" in one_line(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("text_only")
def test_a_disk_that_fills_up(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(model: ir.Model, path: Path, **_: Any) -> None:
        path.write_text("half a gra")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing.ir, "save", full)
    with pytest.raises(TriptychError) as error:
        export(checkpoint, tmp_path / "package")
    assert "No space left on device; nothing was left there" in one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_unsupported_family_is_named(copied: Path, tmp_path: Path) -> None:
    edit(copied / "model_index.json", _class_name="QwenImagePipeline")
    with pytest.raises(SourceError) as error:
        export(copied, tmp_path / "package")
    assert "QwenImagePipeline" in one_line(error)
    assert "StableDiffusionPipeline" in one_line(error)
    edit(copied / "model_index.json", _class_name="StableDiffusionPipeline")
    edit(copied / "unet" / "config.json", class_embed_type="timestep")
    with pytest.raises(SourceError, match="class_embed_type='timestep'"):
        exporter.components_of(checkpoints.open_checkpoint(copied))["unet"]()


def test_sources_that_are_not_there(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="neither a folder nor a hub id"):
        export(tmp_path / "no" / "such", tmp_path / "package")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"no model_index\.json"):
        export(tmp_path / "empty", tmp_path / "package")
    with pytest.raises(SourceError, match="goes with a hub id"):
        export(copied, tmp_path / "package", revision="main")
    (copied / "unet" / "config.json").write_text("{")
    with pytest.raises(SourceError, match=r"unet/config\.json cannot be read as JSON"):
        export(copied, tmp_path / "package")


def test_hub_id_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SourceError) as error:
        export("someone/some-model", tmp_path / "package", revision="main")
    assert "someone/some-model" in one_line(error)
    assert "hub" in one_line(error)


def test_weights_that_are_broken_or_missing(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    opened = checkpoints.open_checkpoint(copied)
    load = exporter.components_of(opened)["unet"]
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    whole = file.read_bytes()

    save_file({name: weight for name, weight in weights.items() if name != "conv_in.bias"}, file)
    with pytest.raises(SourceError, match=r"unet lacks weights, 1 of them, first conv_in\.bias"):
        load()
    save_file(weights | {"adapter.weight": weights["conv_in.bias"].clone()}, file)
    with pytest.raises(SourceError, match=r"unknown weights, 1 of them, first adapter\.weight"):
        load()
    save_file(weights | {"conv_in.bias": weights["conv_in.bias"][1:].clone()}, file)
    with pytest.raises(SourceError) as error:
        load()
    assert "conv_in.bias" in one_line(error)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"unet/diffusion_pytorch_model\.safetensors cannot be read"):
        load()
    file.unlink()
    with pytest.raises(SourceError, match="no weights for unet"):
        load()


def test_pickled_float16_and_sharded_weights_load_the_same(copied: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    opened = checkpoints.open_checkpoint(copied)
    file = copied / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    first, *rest = weights

    def loaded() -> dict[str, torch.Tensor]:
        module = exporter.components_of(opened)["text_encoder"]().module
        return dict(module.state_dict())

    expected = loaded()
    file.unlink()
    prefixed = {f"text_model.{name.removeprefix('text_model.')}": weight for name, weight in weights.items()}
    stored = prefixed | {"text_model.embeddings.position_ids": torch.arange(77)}
    torch.save(stored, copied / "text_encoder" / "pytorch_model.bin")
    torch.testing.assert_close(loaded(), expected, rtol=0, atol=0)
    (copied / "text_encoder" / "pytorch_model.bin").unlink()

    shards = {"a.safetensors": [first], "b.safetensors": rest}
    for name, held in shards.items():
        save_file({key: weights[key].half() for key in held}, copied / "text_encoder" / name)
    index = {"weight_map": {key: name for name, held in shards.items() for key in held}}
    (copied / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(index))
    torch.testing.assert_close(loaded(), {name: weight.half() for name, weight in expected.items()}, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp61"}, "did you mean fp16"),
        ({"dialect": "klingon"}, "allowed: portable, cpu"),
        ({"static": (2, 130, 128)}, "multiples of 8"),
        ({"static": (0, 128, 128)}, "batch at least 1"),
    ],
)
def test_options_that_cannot_be(checkpoint: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TriptychError, match=message):
        export(checkpoint, tmp_path / "package", **options)
    assert list(tmp_path.iterdir()) == []


def test_exporting_prints_nothing_but_its_report(checkpoint: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from triptych.export import export, exporter; every = exporter.components_of;"
        "exporter.components_of = lambda c: {'text_encoder': every(c)['text_encoder']};"
        "export(sys.argv[1], sys.argv[2])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code, str(checkpoint), str(tmp_path / "package")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
