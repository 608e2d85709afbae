"""Images in several threads: all CUDA calls come from one, a capture has nodes of its own, handles are made once."""

from pathlib import Path

import pytest

from .environment import Environment
from .log import Log
from .process import Finished, run
from .setups import SLOW_CAPTURE

pytestmark = pytest.mark.slow

STEPS = 3


def generate(standin: Environment, folder: Path, package: Path, threads: int, order: str) -> Finished:
    program = ("-m", "tests.standin.programs.threads", package, str(threads), str(STEPS), order)
    return run(standin, folder, *program, setup=SLOW_CAPTURE)


def replays(log: Log) -> int:
    return len(log.of("replay").events)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_at_once(standin: Environment, demo_package: Path, tmp_path: Path, threads: int) -> None:
    finished = generate(standin, tmp_path, demo_package, threads, "at-once")
    assert finished.log.forbidden == []
    assert finished.status == 0, finished.stderr
    assert len(finished.log.threads) == 1  # loading and the probe of the device included
    images = finished.log.between("images", "images end")
    assert replays(images) == threads * STEPS + len(images.captures)  # the run that captures replays, too
    assert 1 <= len(images.captures) <= threads  # each image that is generated at the same time has buffers of its own
    for capture in images.captures:
        assert capture.valid
        assert capture.nodes.threads == {capture.thread}
        assert capture.nodes.kernels == images.captures[0].nodes.kernels


def test_threads_one_by_one(standin: Environment, demo_package: Path, tmp_path: Path) -> None:
    finished = generate(standin, tmp_path, demo_package, 4, "one-by-one")
    assert finished.status == 0, finished.stderr
    assert finished.log.forbidden == []
    assert len(finished.log.captures) == 1
    for number in range(4):
        image = finished.log.between(f"image {number}", f"image {number} end")
        assert replays(image) == STEPS + len(image.captures)
    later = finished.log.between("image 1", "image 3 end")
    assert later.of("create").events == ()  # handles of cuBLAS and cuDNN belong to the thread that made them


def test_closing_a_pipeline_frees_its_memory_at_once(standin: Environment, demo_package: Path, tmp_path: Path) -> None:
    finished = run(standin, tmp_path, "-m", "tests.standin.programs.close", demo_package)
    assert finished.status == 0, finished.stderr
    assert finished.log.forbidden == []
    assert len(finished.log.threads) == 1
    allocated, freed = (len(finished.log.of(kind).events) for kind in ("malloc", "free"))
    at_once = len(finished.log.between("close", "close end").of("free").events)
    assert at_once > 0.8 * allocated, "the rest is the probe's, and the device's own"
    assert at_once < freed <= allocated
