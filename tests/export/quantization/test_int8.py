"""A package in int8: calibrated by a run of the checkpoint, verified, and measured on whole images."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from tests.processors import environment_of
from tests.support.command_line import refused
from triptych.export import CalibrationRun, export
from triptych.export.checkpoint import open_checkpoint
from triptych.export.dialects import dialect_named
from triptych.export.precision import FP32_FLOOR_DB, INT8_FLOOR_DB
from triptych.export.quantization import calibration
from triptych.export.quantization.calibration import calibrate
from triptych.export.verification import image_quality
from triptych.runtime import Output, TextToImage
from triptych.runtime.cli.inspection import as_text, describe
from triptych.runtime.errors import VerificationError
from triptych.runtime.ort.saturation import PAIR_LIMIT
from triptych.runtime.package.package import open_package

RUN = CalibrationRun(prompts=("a fox", "a red heart"), guidance_scale=2.5, steps=3)
OPTIONS: dict[str, Any] = {"precision": "int8", "calibration": RUN}
IMAGES = 3
DEMO = Path(__file__).parents[3] / "models" / "emoji"
CONV = "com.microsoft::QLinearConv"


@pytest.fixture(scope="module", autouse=True)
def a_short_run() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "MOST", IMAGES)
        yield


@pytest.fixture(scope="module")
def int8_package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("int8") / "tiny", allow_low_quality=True, **OPTIONS)


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


def test_the_manifest_states_the_integers_that_are_multiplied(int8_package: Path, package: Path) -> None:
    integers = json.loads((int8_package / "triptych.json").read_text())["integers"]
    assert integers == {"activations": [0, 255], "weights": [-64, 64]}
    assert "integers: activations 0..255, weights -64..64" in as_text(describe(open_package(int8_package)))
    assert 2 * 255 * 64 <= PAIR_LIMIT < 2 * 255 * 65
    assert json.loads((package / "triptych.json").read_text())["integers"] is None
    graph = onnx.load(int8_package / "unet" / "model.onnx")
    stored = [onnx.numpy_helper.to_array(each) for each in graph.graph.initializer if each.data_type == 3]
    weights = [array for array in stored if array.ndim > 1]
    assert len(weights) > 20
    assert all(np.abs(array.astype(int)).max() <= 64 for array in weights)


def test_weights_take_a_quarter(int8_package: Path) -> None:
    facts = json.loads((int8_package / "triptych.json").read_text())["components"]["unet"]
    size = sum(file["bytes"] for file in facts["files"].values())
    assert size < 2 * facts["parameters"]  # a quarter of four bytes each, scales, and what is kept in float


def test_the_manifest_records_image_quality(int8_package: Path) -> None:
    pipe = TextToImage.load(int8_package, device="cpu")
    recorded = pipe.package.manifest.recorded["quality"]["pictures"]
    assert (recorded["pictures"], recorded["prompts"]) == (IMAGES, len(RUN.prompts))
    assert (recorded["steps"], recorded["guidance_scale"]) == (RUN.steps, RUN.guidance_scale)
    assert 20 < recorded["psnr_db_worst"] <= recorded["psnr_db"] < 60
    assert 0.5 < recorded["ssim_worst"] <= recorded["ssim"] < 1
    assert f"PSNR {recorded['psnr_db']} dB" in as_text(describe(pipe.package))


@pytest.mark.slow
def test_a_portable_package_has_integers_in_standard_operators(
    int8_package: Path, checkpoint: Path, tmp_path: Path
) -> None:
    portable = export(checkpoint, tmp_path / "portable", dialect="portable", allow_low_quality=True, **OPTIONS)
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
    assert [image.seed for image in first.images] == [calibration.SEED + i for i in range(IMAGES)]
    assert [image.prompt for image in first.images] == [*RUN.prompts, RUN.prompts[0]]
    for one, another in zip(first.images, second.images, strict=True):
        np.testing.assert_array_equal(one.pixels, another.pixels)


@pytest.mark.slow
def test_images_below_the_floor_are_not_published(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"images in int8 are 2\d\.\d dB .* below the floor of 30 dB and 0\.92"):
        export(checkpoint, tmp_path / "low", **OPTIONS)  # weights are random: images have 27 dB
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("psnr_db", "ssim_worst", "passes"),
    [(30.0, 0.92, True), (29.99, 0.99, False), (40.0, 0.919, False), (float("nan"), 0.99, False)],
)
def test_the_floor_is_on_images(psnr_db: float, ssim_worst: float, passes: bool) -> None:
    figures = {"psnr_db": psnr_db, "ssim_worst": ssim_worst}
    if passes:
        image_quality.check_quality(figures)
    else:
        with pytest.raises(VerificationError, match="--calibration-prompts"):
            image_quality.check_quality(figures)


class Between(TextToImage):
    """Pipeline whose image is `own` from its own seed, and `other` from any other noise."""

    def __init__(self, own: np.ndarray, other: np.ndarray) -> None:
        latents = SimpleNamespace(channels=4)
        self.model: Any = SimpleNamespace(latents=latents, latent_size_for=lambda height, width: (2, 2))
        self.own, self.other = own, other

    def __call__(self, prompt: Any, *, latents: Any = None, **_: Any) -> Output:
        images: list[Any] = [self.own if latents is None else self.other]
        return Output(images, np.zeros(0), [])


def test_images_that_any_rounding_decides_are_counted_and_left_out_of_the_worst(monkeypatch: Any) -> None:
    random = np.random.default_rng(0)
    right, wrong = (random.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(2))
    expected = calibration.ReferenceImage("a fox", 7, right)
    assert image_quality.undecided(Between(wrong, right), expected)
    assert not image_quality.undecided(Between(wrong, wrong), expected)
    calibrated = calibration.Calibration({}, RUN, (expected,))
    for other, undecided in ((right, 1), (wrong, 0)):
        pipe = Between(wrong, other)
        monkeypatch.setattr(image_quality.TextToImage, "load", lambda *_, pipe=pipe, **__: pipe)
        measured = image_quality.measure_quality(Path("package"), calibrated)
        assert measured["undecided"] == undecided
        with pytest.raises(VerificationError):  # none is left to be judged by, or the one that is differs
            image_quality.check_quality(measured)


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["here", "avx2"])
def test_the_demo_model_keeps_its_quality_on_every_processor(
    processor: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = None if processor == "here" else environment_of(processor, tmp_path_factory)
    package = tmp_path / "emoji"
    prompts = DEMO / "evaluation" / "prompts.txt"
    command: list[str | Path] = ["export", DEMO, package, "--precision", "int8", "--calibration-prompts", prompts]
    program = "from triptych.runtime.cli import main; main()"
    options = ["--calibration-guidance", "2.5", "--calibration-steps", "20"]
    subprocess.run([sys.executable, "-c", program, *command, *options], check=True, env=environment)
    manifest = json.loads((package / "triptych.json").read_text())
    recorded = manifest["quality"]["pictures"]
    assert recorded["psnr_db"] >= image_quality.IMAGES_FLOOR_DB + 4
    assert recorded["ssim_worst"] >= image_quality.SSIM_FLOOR
    assert recorded["undecided"] <= 2
    assert manifest["channels_block"] in ((8,) if processor == "avx2" else (1, 8, 16))


def test_reference_images_are_those_of_the_runtime(checkpoint: Path, package: Path) -> None:
    calibrated = calibrate(open_checkpoint(checkpoint), dialect_named("portable"), None, RUN)
    measured = image_quality.measure_quality(package, calibrated)  # in float32, so that only rounding to pixels is left
    assert measured["psnr_db_worst"] > 60


def test_a_score_goes_into_the_manifest_and_changes_nothing_else(int8_package: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(int8_package, copy)
    before = open_package(copy)
    image_quality.record(copy, "semantic", {"names": {"pictures": 200, "right": 0.955}})
    after = open_package(copy)
    assert not before.manifest.absent
    assert after.manifest.recorded["quality"].pop("semantic") == {"names": {"pictures": 200, "right": 0.955}}
    assert after.manifest == before.manifest
    assert after.fingerprint == before.fingerprint
    assert sorted(path.name for path in copy.iterdir()) == sorted(path.name for path in int8_package.iterdir())
    assert "semantic score: names 95.5% of 200" in as_text(describe(open_package(copy)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--precision", "fp32", "--calibration-steps", "3"), "a calibration is for precision int8, not fp32"),
        (("--precision", "fp16", "--allow-low-quality"), "--allow-low-quality is for precision int8, not fp16"),
        (("--precision", "int8", "--calibration-steps", "0"), "--calibration-steps 0 must be"),
        (("--precision", "int8", "--calibration-guidance", "nan"), "--calibration-guidance nan"),
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
