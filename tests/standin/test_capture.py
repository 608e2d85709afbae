"""The stand-in itself: calls during a capture in global mode, which CUDA refuses, and work that becomes a node."""

import json
from pathlib import Path

import pytest

from .environment import Environment
from .process import Finished, run
from .setups import NO_CAPTURE, WHOLE, Setup

pytestmark = pytest.mark.slow

SUCCESS, UNSUPPORTED, INVALIDATED, IMPLICIT = 0, 900, 901, 906
CUBLAS_INTERNAL_ERROR = 14


def attempt(standin: Environment, folder: Path, call: str, thread: str, setup: Setup = WHOLE) -> Finished:
    finished = run(standin, folder, "-m", "tests.standin.programs.capture", call, thread, setup=setup)
    assert finished.status == 0, finished.stderr
    return finished


@pytest.mark.parametrize(
    "call",
    ["malloc", "free", "memcpy", "wait for the device", "wait for the stream", "event query", "second capture"],
)
@pytest.mark.parametrize("thread", ["own", "other"])
def test_a_forbidden_call_fails_and_so_does_the_capture(
    standin: Environment, tmp_path: Path, call: str, thread: str
) -> None:
    finished = attempt(standin, tmp_path, call, thread)
    assert json.loads(finished.stdout) == [UNSUPPORTED, INVALIDATED]
    (line,) = finished.log.forbidden
    assert ("another-thread" in line) == (thread == "other")


def test_a_new_handle_allocates(standin: Environment, tmp_path: Path) -> None:
    finished = attempt(standin, tmp_path, "new handle", "own")
    assert json.loads(finished.stdout) == [CUBLAS_INTERNAL_ERROR, INVALIDATED]


def test_the_legacy_stream_is_in_order_with_the_captured_one(standin: Environment, tmp_path: Path) -> None:
    finished = attempt(standin, tmp_path, "memset on the legacy stream", "own")
    assert json.loads(finished.stdout) == [IMPLICIT, INVALIDATED]


def test_work_on_the_stream_becomes_a_node(standin: Environment, tmp_path: Path) -> None:
    finished = attempt(standin, tmp_path, "memset on the stream", "own")
    assert json.loads(finished.stdout) == [SUCCESS, SUCCESS]
    assert finished.log.forbidden == []
    (capture,) = finished.log.captures
    assert [event.kind for event in capture.nodes.events] == ["memset"]


def test_work_of_another_thread_becomes_a_foreign_node(standin: Environment, tmp_path: Path) -> None:
    finished = attempt(standin, tmp_path, "memset on the stream", "other")
    assert json.loads(finished.stdout) == [SUCCESS, SUCCESS]
    (line,) = finished.log.forbidden
    assert "node-of-another-thread" in line
    (capture,) = finished.log.captures
    assert {event.thread for event in capture.nodes.events} != {capture.thread}


def test_a_capture_can_fail_at_its_end(standin: Environment, tmp_path: Path) -> None:
    finished = attempt(standin, tmp_path, "nothing", "own", NO_CAPTURE)
    assert json.loads(finished.stdout) == [SUCCESS, INVALIDATED]
