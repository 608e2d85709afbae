"""Whole images on CUDA: every node there, one capture, no call that it forbids, and no wait in the loop."""

import json
from pathlib import Path

import pytest

from .environment import Environment
from .log import Log
from .process import run

pytestmark = pytest.mark.slow

STEPS = 5
CUDA = "CUDAExecutionProvider"


@pytest.fixture(scope="module")
def images(standin: Environment, demo_package: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Log, dict]:
    """Log of two images, one after the other, and what the process found out."""
    arguments = json.dumps({"num_inference_steps": STEPS, "guidance_scale": 2.5, "scheduler": "euler"})
    program = "tests.standin.programs.images"
    finished = run(standin, tmp_path_factory.mktemp("images"), "-m", program, demo_package, arguments, "2")
    assert finished.status == 0, finished.stderr
    return finished.log, json.loads(finished.stdout)


def test_every_node_is_on_cuda_and_nothing_warns(images: tuple[Log, dict]) -> None:
    _, found = images
    assert found["warnings"] == []
    assert found["placement"].keys() == {CUDA}
    assert found["placement"][CUDA]["NhwcConv"] > 0


def test_no_call_is_forbidden_and_none_is_unknown(images: tuple[Log, dict]) -> None:
    log, _ = images
    assert log.forbidden == []
    assert log.of("refused").events == ()


def test_the_denoiser_is_captured_once_and_replayed_at_every_step(images: tuple[Log, dict]) -> None:
    log, _ = images
    (capture,) = log.captures
    assert capture.valid
    assert capture.nodes.copies.keys() <= {"DtoD"}  # a replay would read and write memory of the host as it was
    for call, extra in ((0, 1), (1, 0)):  # the run that captures replays, too
        assert len(log.between(f"call {call}", f"call {call} end").of("replay").events) == STEPS + extra


def test_nothing_waits_between_the_first_step_and_the_last(images: tuple[Log, dict]) -> None:
    log, _ = images
    for call in range(2):
        loop = log.between(f"call {call} step 0", f"call {call} step {STEPS - 2}")
        assert loop.waits == []
        assert len(loop.of("replay").events) == STEPS - 2
        assert loop.copies.keys() <= {"DtoD"}


def test_nothing_is_allocated_for_a_second_image(images: tuple[Log, dict]) -> None:
    log, _ = images
    assert log.between("call 1", "call 1 step 0").of("create").events == ()
    loop = log.between("call 1 step 0", f"call 1 step {STEPS - 1}")
    assert loop.of("malloc", "create").events == ()
