"""The manifest: typed, checked once, and open to keys of later versions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.runtime.errors import PackageError
from triptych.runtime.ort.session import Tensor
from triptych.runtime.package.manifest import FileRecord, Integers, Manifest, StaticShape, read_manifest

FILE = {"bytes": 5, "sha256": "ab"}
UNET = {
    "inputs": [{"name": "sample", "dtype": "float16", "shape": ["batch_size", 4, 8, 8]}],
    "outputs": [{"name": "out_sample", "dtype": "float16", "shape": ["batch_size", 4, 8, 8]}],
    "default_shape": {"sample": [1, 4, 8, 8], "timestep": []},
    "macs": 700,
    "optimised": True,
    "files": {"unet/model.onnx": FILE},
    "of a later version": 1,
}
WHOLE = {
    "format": 1,
    "source": {"name": "emoji", "revision": None},
    "precision": "int8",
    "dialect": "cpu",
    "channels_block": 16,
    "integers": {"activations": [0, 255], "weights": [-64, 64]},
    "static": {"batch": 2, "height": 64, "width": 128},
    "components": {"unet": UNET},
    "files": {"model_index.json": FILE},
    "of a later version": {},
}


def written(folder: Path, **changes: Any) -> Path:
    (folder / "triptych.json").write_text(json.dumps(WHOLE | changes))
    return folder


def test_every_value_is_typed(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path))
    assert not manifest.absent
    assert manifest.recorded == WHOLE
    assert (manifest.source, manifest.precision, manifest.dialect) == ("emoji", "int8", "cpu")
    assert manifest.channels_block == 16
    assert manifest.integers == Integers(activations=(0, 255), weights=(-64, 64))
    assert manifest.static == StaticShape(batch=2, height=64, width=128)
    assert manifest.files == {"model_index.json": FileRecord(5, "ab")}
    unet = manifest.component("unet")
    assert unet.files == {"unet/model.onnx": FileRecord(5, "ab")}
    assert unet.inputs == {"sample": Tensor("sample", np.dtype(np.float16), ("batch_size", 4, 8, 8))}
    assert unet.outputs is not None
    assert list(unet.outputs) == ["out_sample"]
    assert (unet.optimised, unet.macs) == (True, 700)
    assert unet.default_shape == {"sample": (1, 4, 8, 8), "timestep": ()}


def test_what_is_not_recorded_has_a_value(tmp_path: Path) -> None:
    (tmp_path / "triptych.json").write_text('{"format": 1, "components": {"unet": {}}}')
    manifest = read_manifest(tmp_path)
    assert not manifest.absent
    assert (manifest.precision, manifest.static, manifest.integers) == (None, None, None)
    assert manifest.component("unet") == manifest.component("another")
    assert manifest.component("unet").inputs is None


def test_a_package_of_another_exporter_has_an_absent_manifest(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == Manifest()
    assert Manifest().absent


def unet_with(**changes: Any) -> dict[str, Any]:
    return {"components": {"unet": UNET | changes}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "1"}, "has format '1'; this version reads format 1"),
        ({"precision": 16}, "precision is 16; it should be a text"),
        ({"channels_block": True}, "channels_block is True; it should be a whole number"),
        ({"static": [1, 2, 3]}, "static is [1, 2, 3]; it should be a JSON object"),
        ({"static": {"batch": 1, "height": 64}}, "static.width is missing; it should be a whole number"),
        ({"integers": {"activations": [0]}}, "integers.activations is [0]; it should be a list of 2 whole numbers"),
        ({"files": {"x": {"sha256": "ab"}}}, "files.x.bytes is missing; it should be a whole number"),
        ({"components": {"unet": 5}}, "components.unet is 5; it should be a JSON object"),
        (unet_with(files={"m": {"bytes": "5"}}), "components.unet.files.m.bytes is '5'; it should be a whole number"),
        (unet_with(optimised="yes"), "components.unet.optimised is 'yes'; it should be true or false"),
        (unet_with(inputs={}), "components.unet.inputs is {}; it should be a list"),
        (unet_with(inputs=["x"]), "components.unet.inputs[0] is 'x'; it should be a JSON object"),
        (
            unet_with(outputs=[{"name": "x", "dtype": "float17", "shape": []}]),
            "components.unet.outputs[0].dtype is 'float17'; it should be a dtype of numpy",
        ),
        (
            unet_with(inputs=[{"name": "x", "dtype": "float16", "shape": [1.5]}]),
            "components.unet.inputs[0].shape is [1.5]; it should be a list of sizes and names of axes",
        ),
        (
            unet_with(default_shape={"x": [1, "a"]}),
            "components.unet.default_shape.x is [1, 'a']; it should be a list of whole numbers",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PackageError) as caught:
        read_manifest(written(tmp_path, **changes))
    assert str(caught.value).startswith(str(tmp_path / "triptych.json"))
    assert str(caught.value).endswith(message)
    assert "\n" not in str(caught.value)
