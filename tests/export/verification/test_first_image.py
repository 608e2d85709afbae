"""An image of the package beside diffusers': what acts between the graphs shows in it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.packages import linked
from triptych.export.checkpoint import open_checkpoint
from triptych.export.options import Options, checked_options
from triptych.export.verification import first_image
from triptych.export.verification.first_image import compare
from triptych.runtime.errors import VerificationError
from triptych.runtime.package.geometry import LatentGeometry

PORTABLE = checked_options("fp32", "portable", None, None, False)


def test_the_figure_is_in_the_manifest(exported_package: Path) -> None:
    figures = json.loads((exported_package / "triptych.json").read_text())["quality"]["image"]
    assert figures["psnr_db"] >= figures["floor_db"] == 40
    assert (figures["height"], figures["width"]) == (128, 128)


def test_sdxl_and_its_statistics_of_latents(xl_package: Path, xl_checkpoint: Path, tmp_path: Path) -> None:
    figures = json.loads((xl_package / "triptych.json").read_text())["quality"]["image"]
    assert figures["psnr_db"] >= 40
    package = linked(xl_package, tmp_path / "package")
    config = json.loads((package / "vae_decoder" / "config.json").read_text())
    (package / "vae_decoder").unlink()
    (package / "vae_decoder").mkdir()
    (package / "vae_decoder" / "model.onnx").symlink_to(xl_package / "vae_decoder" / "model.onnx")
    statistics = {"latents_mean": [-1.6, 1.1, 0.3, -0.2], "latents_std": [8.4, 5.9, 4.9, 5.0]}
    (package / "vae_decoder" / "config.json").write_text(json.dumps(config | statistics))
    checkpoint = open_checkpoint(xl_checkpoint)
    with pytest.raises(VerificationError, match="below the floor of 40 dB"):
        compare(package, checkpoint, PORTABLE, 0)


@pytest.mark.parametrize(
    "scheduler", [{"prediction_type": "v_prediction"}, {"beta_end": 0.02}, {"_class_name": "DDPMScheduler"}]
)
def test_another_scheduler_is_found(
    exported_package: Path, checkpoint: Path, tmp_path: Path, scheduler: dict[str, Any]
) -> None:
    opened = open_checkpoint(checkpoint)
    package = linked(exported_package, tmp_path / "package", scheduler=dict(opened.scheduler) | scheduler)
    with pytest.raises(VerificationError, match="a configuration of the checkpoint acts in another way"):
        compare(package, opened, PORTABLE, 0)


def test_another_scale_of_latents_is_found(
    exported_package: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LatentGeometry, "to_vae", lambda _, latents: latents)
    with pytest.raises(VerificationError, match="dB from diffusers'"):
        compare(exported_package, open_checkpoint(checkpoint), PORTABLE, 0)


@pytest.mark.parametrize(
    ("parameters", "static", "channels", "reason"),
    [
        (10**15, None, 4, "GB of memory"),
        (0, (1, 128, 128), 4, "its calls have 1 rows"),
        (0, None, 9, "the model starts from an image"),
    ],
)
def test_the_reason_is_recorded_where_there_is_none(
    exported_package: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    parameters: int,
    static: tuple[int, int, int] | None,
    channels: int,
    reason: str,
) -> None:
    options: Options = checked_options("fp32", "portable", static, None, False)
    opened = open_checkpoint(checkpoint)

    class Described:
        def config(self) -> dict[str, Any]:
            return {**own, "in_channels": channels}

    own = opened.config("unet")
    opened = replace(opened, parts={**opened.parts, "unet": Described()})  # type: ignore[dict-item]
    monkeypatch.setattr(first_image, "_by_diffusers", lambda *_: pytest.fail("it runs"))
    first = compare(exported_package, opened, options, parameters)
    assert first is not None
    assert reason in first.as_json()["left_out"]
    assert reason in str(first)
