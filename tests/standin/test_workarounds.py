"""What cannot be had on a machine is left out with a warning, and the image is made all the same."""

import json
from pathlib import Path

import pytest

from .environment import Environment
from .log import Log
from .process import run
from .setups import NO_ATTENTION, NO_CAPTURE, WHOLE, Setup

pytestmark = pytest.mark.slow

STEPS = 4
ARGUMENTS = json.dumps({"num_inference_steps": STEPS, "guidance_scale": 2.5, "scheduler": "euler"})


def images(environment: Environment, folder: Path, package: Path, setup: Setup) -> tuple[Log, list[str]]:
    """Log and warnings of a process that makes images on a machine."""
    program = "tests.standin.programs.images"
    finished = run(environment, folder, "-m", program, package, ARGUMENTS, "2", setup=setup)
    assert finished.status == 0, finished.stderr
    return finished.log, json.loads(finished.stdout)["warnings"]


def test_a_capture_that_fails_is_left_out(standin: Environment, demo_package: Path, tmp_path: Path) -> None:
    log, warned = images(standin, tmp_path, demo_package, NO_CAPTURE)
    (warning,) = warned
    assert warning.startswith("unet runs without a CUDA graph: ")
    (capture,) = log.captures  # it is tried once
    assert not capture.valid
    assert log.of("replay").events == ()
    whole, _ = images(standin, tmp_path, demo_package, WHOLE)
    steps = log.between("call 1 step 0", "call 1 step 1").kernels
    (replayed,) = whole.captures
    assert steps == replayed.nodes.kernels + whole.between("call 1 step 0", "call 1 step 1").kernels


def test_attention_that_cudnn_cannot_build_is_flash_attention(
    standin: Environment, demo_package: Path, tmp_path: Path
) -> None:
    log, warned = images(standin, tmp_path, demo_package, NO_ATTENTION)
    assert [warning.partition(":")[0] for warning in warned] == [
        f"{component} runs without cuDNN's attention" for component in ("text_encoder", "unet", "vae_decoder")
    ]
    (capture,) = log.captures
    assert capture.valid
    assert any("flash" in name for name in capture.nodes.kernels)
    assert log.forbidden == []
