"""A package in eight bits: calibrated by a run of the checkpoint, verified, and measured on whole pictures."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.export import export
from triptych.export.checkpoint import open_checkpoint
from triptych.export.dialects import dialect_named
from triptych.export.precision import FP32_FLOOR_DB, INT8_FLOOR_DB
from triptych.export.quantization import calibration, quality
from triptych.export.quantization.calibration import calibrate
from triptych.runtime import TextToImage
from triptych.runtime.inspection import as_text, describe

FEW_STEPS, PICTURES = 3, 2
CONV = "com.microsoft::QLinearConv"


@pytest.fixture(scope="module", autouse=True)
def a_short_run() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "STEPS", FEW_STEPS)
        patch.setattr(quality, "STEPS", FEW_STEPS)
        patch.setattr(calibration, "MOST", PICTURES)
        yield


@pytest.fixture(scope="module")
def int8_package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("int8") / "tiny", precision="int8")


def test_layers_are_integers_but_for_those_kept(int8_package: Path) -> None:
    components = json.loads((int8_package / "triptych.json").read_text())["components"]
    for name in ("unet", "vae_decoder"):
        facts = components[name]
        assert facts["said"][CONV] == facts["operators"][CONV] > 10
        assert "QLinearConv" not in facts["operators"]
        kept = facts["kept_in_float"]
        assert 0 < len(kept) < facts["said"][CONV]
        assert facts["parity"]["floor_db"] == INT8_FLOOR_DB
        assert INT8_FLOOR_DB < facts["parity"]["db"] < 60
    assert components["unet"]["said"]["com.microsoft::DynamicQuantizeMatMul"] > 10
    for name in ("text_encoder", "vae_encoder"):
        assert "kept_in_float" not in components[name]
        assert components[name]["parity"]["floor_db"] == FP32_FLOOR_DB
        assert CONV not in components[name]["operators"]


def test_weights_take_a_quarter(int8_package: Path) -> None:
    facts = json.loads((int8_package / "triptych.json").read_text())["components"]["unet"]
    size = sum(file["bytes"] for file in facts["files"].values())
    assert size < 2 * facts["parameters"]  # a quarter of four bytes each, scales, and what is kept in float


def test_the_manifest_says_what_pictures_lose(int8_package: Path) -> None:
    pipe = TextToImage.load(int8_package, device="cpu")
    assert pipe.package.manifest is not None
    recorded = pipe.package.manifest["quality"]
    assert (recorded["pictures"], recorded["steps"]) == (PICTURES, FEW_STEPS)
    assert 20 < recorded["psnr_db_worst"] <= recorded["psnr_db"] < 60
    assert 0.5 < recorded["ssim_worst"] <= recorded["ssim"] < 1
    assert f"PSNR {recorded['psnr_db']} dB" in as_text(describe(pipe.package))


def test_the_same_calibration_twice(checkpoint: Path) -> None:
    opened, dialect = open_checkpoint(checkpoint), dialect_named("cpu")
    first, second = (calibrate(opened, dialect, None) for _ in range(2))
    assert {name: dataclasses.asdict(plan) for name, plan in first.plans.items()} == {
        name: dataclasses.asdict(plan) for name, plan in second.plans.items()
    }
    assert [picture.seed for picture in first.pictures] == [calibration.SEED, calibration.SEED + 1]
    for one, other in zip(first.pictures, second.pictures, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_reference_pictures_are_those_of_the_runtime(checkpoint: Path, package: Path) -> None:
    references = calibrate(open_checkpoint(checkpoint), dialect_named("portable"), None).pictures
    measured = quality.measure_quality(package, references)  # in float32, so that only rounding to pixels is left
    assert measured["psnr_db_worst"] > 60
