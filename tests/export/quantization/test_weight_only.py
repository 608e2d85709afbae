"""A package with weights in 4 bits, and in 8 where there are no whole blocks: small, and it draws what fp32 draws.

Weights in 8 bits go the same way; both are tried layer by layer in test_weight_layers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.command_line import refused
from triptych.export import export
from triptych.export.precision import W4_FLOOR_DB
from triptych.runtime import TextToImage
from triptych.runtime.cli.inspection import as_text, describe
from triptych.runtime.package.package import open_package


@pytest.fixture(scope="module")
def stored(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("w4") / "tiny", dialect="cpu", precision="w4")


def components(package: Path) -> dict[str, Any]:
    manifest = open_package(package).manifest
    assert manifest.precision == "w4"
    return dict(manifest.recorded["components"])


def test_every_weight_that_was_said_is_written(stored: Path) -> None:
    for name, facts in components(stored).items():
        declared, written = facts["said"], facts["operators"]
        assert declared["com.microsoft::MatMulNBits"] == written["com.microsoft::MatMulNBits"] >= 4
        assert declared.get("DequantizeLinear") == written.get("DequantizeLinear")
        assert declared.get("DequantizeLinear", 0) > 10 or name == "text_encoder"
        assert W4_FLOOR_DB == facts["parity"]["floor_db"] < facts["parity"]["db"] < 60


def test_no_weight_is_in_float_again(stored: Path) -> None:
    """Of four bytes a parameter at least three are gone: scales, biases and normalizations are left."""
    for name, facts in components(stored).items():
        weights = onnx.load(stored / name / "model.onnx").graph.initializer
        floats = sum(each.ByteSize() for each in weights if each.data_type == onnx.TensorProto.FLOAT)
        assert floats < facts["parameters"]


def test_weights_take_less_than_half(stored: Path) -> None:
    facts = components(stored)["unet"]
    assert sum(file["bytes"] for file in facts["files"].values()) < 2 * facts["parameters"]  # of four bytes each


def test_what_is_drawn_is_what_fp32_draws(stored: Path, package: Path) -> None:
    one, other = (
        TextToImage.load(path, device="cpu")("a red heart", seed=3, num_inference_steps=3).latents
        for path in (stored, package)
    )
    noise = np.sum((one - other) ** 2) / np.sum(other**2)
    assert W4_FLOOR_DB < -10 * np.log10(noise) < 60
    assert "precision: w4" in as_text(describe(open_package(stored)))


@pytest.mark.parametrize("precision", ["w8", "w4"])
def test_cuda_has_no_such_operators(
    checkpoint: Path, precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "package"
    error = refused("export", checkpoint, package, "--dialect", "cuda", "--precision", precision, capsys=capsys)
    assert f"operator set cuda has no operators in {precision}; allowed: fp32, fp16" in error
    assert not package.exists()
