import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.graphs import write_adder
from triptych.runtime.errors import PackageError
from triptych.runtime.families.family import STABLE_DIFFUSION
from triptych.runtime.package.package import family_of, open_package


def write_package(folder: Path, class_name: str = "StableDiffusionPipeline", **manifest: Any) -> Path:
    """A package of one adder as its U-Net, with a manifest."""
    graph = write_adder(folder / "unet" / "model.onnx")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "DDIMScheduler"}')
    (folder / "model_index.json").write_text(json.dumps({"_class_name": class_name, "unet": ["diffusers", "X"]}))
    facts = {"bytes": graph.stat().st_size, "sha256": hashlib.sha256(graph.read_bytes()).hexdigest()}
    components = {"unet": {"files": {"unet/model.onnx": facts}}}
    (folder / "triptych.json").write_text(json.dumps({"format": 1, "components": components, **manifest}))
    return folder


def test_a_whole_package_opens_and_verifies(tmp_path: Path) -> None:
    package = open_package(write_package(tmp_path / "p"))
    assert package.components == ("unet",)
    assert list(package.verify()) == ["unet/model.onnx"]
    assert family_of(package) is STABLE_DIFFUSION
    assert len(package.fingerprint) == 12


def test_a_package_without_manifest_opens_but_cannot_be_verified(tmp_path: Path) -> None:
    path = write_package(tmp_path / "p")
    (path / "triptych.json").unlink()
    package = open_package(path)
    assert package.fingerprint == ""
    with pytest.raises(PackageError, match=r"no triptych\.json to verify against"):
        list(package.verify())


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="is not a folder"):
        open_package(tmp_path / "absent")
    with pytest.raises(PackageError, match=r"is not a package: it has no model_index\.json"):
        open_package(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(PackageError, match=r"holds no ONNX graphs.*triptych export"):
        open_package(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = write_package(tmp_path / "p")
    write_adder(path / "vae_decoder" / "model.onnx")
    (path / "unet" / "model.onnx").unlink()
    with pytest.raises(PackageError, match=r"unet/model\.onnx is missing"):
        open_package(path)


def test_a_truncated_file_is_named_on_load(tmp_path: Path) -> None:
    path = write_package(tmp_path / "p")
    graph = path / "unet" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(
        PackageError, match=r"unet/model\.onnx has \d+ bytes where the manifest says \d+: it is truncated"
    ):
        open_package(path)


def test_an_altered_file_is_named_by_verify(tmp_path: Path) -> None:
    path = write_package(tmp_path / "p")
    graph = path / "unet" / "model.onnx"
    graph.write_bytes(graph.read_bytes().replace(b"probe", b"adder").replace(b"Add", b"Sub"))
    package = open_package(path)
    with pytest.raises(PackageError, match=r"unet/model\.onnx was altered"):
        list(package.verify())


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="has format 2; this version reads format 1"):
        open_package(write_package(tmp_path / "p", format=2))


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_broken_json_is_named(tmp_path: Path, text: str) -> None:
    path = write_package(tmp_path / "p")
    (path / "model_index.json").write_text(text, encoding="latin-1")
    with pytest.raises(PackageError, match=r"model_index\.json (cannot be read as JSON|should hold a JSON object)"):
        open_package(path)


def test_a_missing_component_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"has no vae_decoder/model\.onnx; it holds: unet"):
        open_package(write_package(tmp_path / "p")).graph("vae_decoder")


def test_an_unsupported_family_is_named(tmp_path: Path) -> None:
    package = open_package(write_package(tmp_path / "p", class_name="QwenImagePipeline"))
    with pytest.raises(PackageError, match="is a QwenImagePipeline, which is not supported"):
        family_of(package)
