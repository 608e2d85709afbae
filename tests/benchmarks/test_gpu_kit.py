"""The kit for a GPU works the first time that it meets one: every stage is tried on the CPU, at a small size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
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
    command = ["bash", str(REPOSITORY / "benchmarks" / "gpu" / "run.sh"), *stages]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder / "out"


@pytest.mark.slow
def test_the_kit_takes_sdxl(tmp_path: Path) -> None:
    out = run_kit(tmp_path, "export-cuda", "correctness", "latency", MODEL="sdxl") / "sdxl"
    components = {"text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder"}
    assert components < json.loads((out / "correctness.json").read_text()).keys()
    assert {f"cuda {name}" for name in components} == json.loads((out / "latency.json").read_text()).keys()


@pytest.mark.slow
def test_every_stage_runs_without_a_gpu(tmp_path: Path) -> None:
    out = run_kit(tmp_path)

    def read(stage: str) -> dict[str, object]:
        return dict(json.loads((out / f"{stage}.json").read_text()))

    assert {"text_encoder", "unet", "vae_decoder", "vae_encoder", "demo pictures"} == read("correctness").keys()
    assert {"cuda unet", "portable unet", "cuda-2 unet", "cuda-apart unet"} <= read("latency").keys()
    assert read("options")["best"]
    assert "1 at once, 3 steps, portable" in read("pictures")
    assert "torch.compile max-autotune, 2 steps" in read("peers-compile")
    assert "com.microsoft::NhwcConv" not in read("where")["by operator"]  # type: ignore[operator]
    for title in ("machine", "correctness", "latency", "options", "pictures", "peers", "where"):
        assert f"-- {title}" in (out / "table.txt").read_text()
