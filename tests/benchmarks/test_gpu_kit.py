"""The kit for a GPU works the first time that it meets one: every stage is tried on the CPU, at a small size."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from triptych.benchmarks.gpu import kit

REPOSITORY = Path(__file__).parents[2]
KIT = REPOSITORY / "benchmarks" / "gpu"
MOST_SECONDS = 1800


def run_kit(folder: Path, *stages: str, **variables: str) -> Path:
    """Run the stages, all of them if none is named, at the small size on the CPU; returns the folder of the figures."""
    environment = os.environ | {
        "DEVICE": "cpu",
        "SIZE": "small",
        "OUT": str(folder / "out"),
        "WORK": str(folder / "work"),
        "PYTHON": sys.executable,
        **variables,
    }
    command = ["bash", str(KIT / "run.sh"), *stages]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder / "out"


@pytest.mark.slow
def test_the_kit_takes_sdxl(tmp_path: Path) -> None:
    out = run_kit(tmp_path, "export-cuda", "components", MODEL="sdxl") / "sdxl"
    components = {"text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder"}
    expected = {f"cuda {name}" for name in components} | {f"{name}, dB" for name in components}
    assert expected <= json.loads((out / "components.json").read_text()).keys()


def check_denoiser(package: Path, rows: int) -> None:
    """Manifest and graphs of a U-Net fit each other: the CPU does not load it, and a GPU would refuse it."""
    unet = json.loads((package / "triptych.json").read_text())["components"]["unet"]
    assert {part["name"]: part["shape"][:1] for part in unet["inputs"]}["sample"] == [rows]
    names = {file.name for file in (package / "unet").glob("*.onnx")}
    assert names == {f"{part}.onnx" for part in ("model", *unet["parts"])}
    graph = onnx.load(package / "unet" / "model.onnx", load_external_data=False).graph
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in graph.input}
    assert shapes["sample"][0] == rows


@pytest.mark.slow
def test_every_stage_runs_without_a_gpu(tmp_path: Path) -> None:
    out = run_kit(tmp_path)

    def read(stage: str) -> dict[str, Any]:
        return dict(json.loads((out / f"{stage}.json").read_text()))

    assert read("environment")["noise of seed 0"] <= 1e-6
    assert read("demo")["run to run"]["5 times"]["equal"] == 1
    assert {"40: SD 1.5, 2 heads, 64 tokens, packed, as chosen"} <= read("attention").keys()
    for model in ("demo", "sd15"):
        assert read("threads")[f"{model}, 3 threads at once"]["largest"] == 0
    assert {"unet, dB", "vae_decoder, dB", "cuda unet", "portable unet", "cuda-2 unet"} <= read("components").keys()
    assert {"cuda-apart, all that gained", "cuda-conv, all that gained", "best"} <= read("options").keys()
    for package, rows in {"cuda-2": 4, "cuda-apart": 2, "cuda-conv": 2}.items():
        check_denoiser(tmp_path / "work" / package, rows)
    assert "1 at once, 3 steps, portable" in read("images")
    assert "torch.compile max-autotune, unet and vae, 2 steps" in read("peers")
    assert "com.microsoft::NhwcConv" not in read("where")["by operator"]
    for title in ("environment", "demo", "threads", "attention", "components", "options", "images", "peers", "where"):
        assert f"-- {title}" in (out / "table.txt").read_text()


def quick_stages() -> list[str]:
    """Entries of `run.sh quick`, see there."""
    (line,) = re.findall(r'^quick="(.*)"$', (KIT / "run.sh").read_text(), re.MULTILINE)
    return str(line).split()


def test_a_quick_run_is_shorter_than_eight_minutes() -> None:
    total = beside = since = 0
    for entry in quick_stages():
        seconds = int(entry.rpartition(":")[2].rstrip("&")) if ":" in entry else 0
        if entry.endswith("&"):
            beside, since = seconds, total
        elif entry == "wait":
            total = max(total, since + beside)
        total += 0 if entry.endswith("&") else seconds
    assert 0 < total < 480


@pytest.mark.slow
def test_a_quick_run_leaves_figures_of_each_stage(tmp_path: Path) -> None:
    out = run_kit(tmp_path, "quick", STAGE_SECONDS="1200")
    stages = {entry.partition(":")[0] for entry in quick_stages()} - {"wait"}
    assert stages <= {file.stem for file in out.glob("*.json")}


def test_a_figure_that_needs_more_time_than_is_left_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"OUT": tmp_path, "WORK": tmp_path, "DEVICE": "cpu", "SIZE": "small", "MODEL": "sd15"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("STAGE_SECONDS", "100000")
    results = kit.Results("stage")
    assert results.attempt("short", lambda: 3, expected=10) == 3
    assert results.attempt("long", lambda: 3, expected=200000) is None
    assert results.attempt("wrong", lambda: 1 // 0) is None
    figures = json.loads((tmp_path / "stage.json").read_text())
    assert figures["short"] == 3
    assert figures["long"].keys() == {"skipped"}
    assert figures["wrong"] == {"error": "ZeroDivisionError: integer division or modulo by zero"}
    with pytest.raises(SystemExit, match="failed figures: wrong"):
        results.finish()
