"""A package in eight bits: calibrated by a run of the checkpoint, verified, and measured on whole pictures."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.command_line import refused
from triptych.export import CalibrationRun, export
from triptych.export.checkpoint import open_checkpoint
from triptych.export.dialects import dialect_named
from triptych.export.precision import FP32_FLOOR_DB, INT8_FLOOR_DB
from triptych.export.quantization import calibration, quality
from triptych.export.quantization.calibration import calibrate
from triptych.runtime import TextToImage
from triptych.runtime.inspection import as_text, describe
from triptych.runtime.package import open_package

RUN = CalibrationRun(prompts=("a fox", "a red heart"), guidance_scale=2.5, steps=3)
PICTURES = 3
CONV = "com.microsoft::QLinearConv"


@pytest.fixture(scope="module", autouse=True)
def a_short_run() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "MOST", PICTURES)
        yield


@pytest.fixture(scope="module")
def int8_package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("int8") / "tiny", precision="int8", calibration=RUN)


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
    recorded = pipe.package.manifest["quality"]["pictures"]
    assert (recorded["pictures"], recorded["prompts"]) == (PICTURES, len(RUN.prompts))
    assert (recorded["steps"], recorded["guidance_scale"]) == (RUN.steps, RUN.guidance_scale)
    assert 20 < recorded["psnr_db_worst"] <= recorded["psnr_db"] < 60
    assert 0.5 < recorded["ssim_worst"] <= recorded["ssim"] < 1
    assert f"PSNR {recorded['psnr_db']} dB" in as_text(describe(pipe.package))


def test_a_portable_package_says_integers_in_the_words_of_the_standard(
    int8_package: Path, checkpoint: Path, tmp_path: Path
) -> None:
    portable = export(checkpoint, tmp_path / "portable", precision="int8", dialect="portable", calibration=RUN)
    manifest, cpu = (json.loads((path / "triptych.json").read_text()) for path in (portable, int8_package))
    for name in ("unet", "vae_decoder"):
        facts = manifest["components"][name]
        operators = facts["operators"]
        assert not [operator for operator in operators if "::" in operator]
        assert operators["DequantizeLinear"] > operators["QuantizeLinear"] > 10
        assert facts["parity"]["db"] > INT8_FLOOR_DB
        assert sum(file["bytes"] for file in facts["files"].values()) < 2 * facts["parameters"]
    # fixed ranges for the inputs of matrix products, too, where the other's are those of each call
    recorded = manifest["quality"]["pictures"]
    assert recorded["psnr_db_worst"] > 20
    assert recorded["psnr_db"] < cpu["quality"]["pictures"]["psnr_db"] + 3


def test_the_same_calibration_twice(checkpoint: Path) -> None:
    opened, dialect = open_checkpoint(checkpoint), dialect_named("cpu")
    first, second = (calibrate(opened, dialect, None, RUN) for _ in range(2))
    assert first.plans.keys() == second.plans.keys()
    for name, plan in first.plans.items():
        other = second.plans[name]
        assert (plan.ranges, plan.kept) == (other.ranges, other.kept)
        for mine, theirs in zip(plan.samples, other.samples, strict=True):
            assert all(map(torch.equal, mine, theirs))
    assert [picture.seed for picture in first.pictures] == [calibration.SEED + i for i in range(PICTURES)]
    assert [picture.prompt for picture in first.pictures] == [*RUN.prompts, RUN.prompts[0]]
    for one, other in zip(first.pictures, second.pictures, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_reference_pictures_are_those_of_the_runtime(checkpoint: Path, package: Path) -> None:
    calibrated = calibrate(open_checkpoint(checkpoint), dialect_named("portable"), None, RUN)
    measured = quality.measure_quality(package, calibrated)  # in float32, so that only rounding to pixels is left
    assert measured["psnr_db_worst"] > 60


def test_a_score_goes_into_the_manifest_and_changes_nothing_else(int8_package: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(int8_package, copy)
    before = open_package(copy)
    quality.record(copy, "semantic", {"names": {"pictures": 200, "right": 0.955}})
    after = open_package(copy)
    assert before.manifest is not None
    assert after.manifest is not None
    assert after.manifest["quality"].pop("semantic") == {"names": {"pictures": 200, "right": 0.955}}
    assert after.manifest == before.manifest
    assert after.fingerprint == before.fingerprint
    assert sorted(path.name for path in copy.iterdir()) == sorted(path.name for path in int8_package.iterdir())
    assert "semantic score: names 95.5% of 200" in as_text(describe(open_package(copy)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--precision", "fp32", "--calibration-steps", "3"), "a calibration is for precision int8, not fp32"),
        (("--precision", "int8", "--calibration-steps", "0"), "num_inference_steps"),
        (("--precision", "int8", "--calibration-guidance", "nan"), "guidance_scale"),
        (("--precision", "int8", "--calibration-prompts", "{empty}"), "no prompts to calibrate with"),
        (("--precision", "int8", "--calibration-prompts", "{missing}"), "missing.txt cannot be read"),
    ],
)
def test_a_calibration_that_cannot_be_is_one_line(
    options: tuple[str, ...], message: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, out = tmp_path / "empty.txt", tmp_path / "package"
    empty.write_text("\n\n")
    places = {"empty": empty, "missing": tmp_path / "missing.txt"}
    given = [option.format(**places) for option in options]
    assert message in refused("export", checkpoint, out, *given, capsys=capsys)
    assert not out.exists()
