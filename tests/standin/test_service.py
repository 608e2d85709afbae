"""A service with several clients calls CUDA from one thread."""

import json
from pathlib import Path

import pytest

from .environment import Environment
from .process import run

pytestmark = pytest.mark.slow

CLIENTS = 3


def test_requests_of_several_clients_are_computed_in_one_thread(
    standin: Environment, demo_package: Path, tmp_path: Path
) -> None:
    finished = run(standin, tmp_path, "-m", "tests.standin.programs.serve", demo_package, str(CLIENTS))
    assert finished.status == 0, finished.stderr
    assert json.loads(finished.stdout) == [200] * (2 * CLIENTS)
    assert len(finished.log.threads) == 1
    assert finished.log.forbidden == []
    assert all(capture.valid for capture in finished.log.captures)
    assert len(finished.log.of("replay").events) > 6 * CLIENTS
