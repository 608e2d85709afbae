"""Packages of the runtime's tests: a tiny one that is written here, so that most tests need no PyTorch."""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import once, shared_base
from tests.support.tiny_package import write


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of standard operators in fp32 with dynamic shapes, see tests/support/tiny_package.py.

    Not to be written to. Tests that need graphs of PyTorch take `exported_package`.
    """
    return once(tmp_path_factory, "written/tiny", write)


@pytest.fixture(scope="session")
def slow_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package with a U-Net that takes milliseconds, for tests of what happens meanwhile."""
    return once(tmp_path_factory, "written/slow", lambda folder: write(folder, "slow"))


@pytest.fixture(scope="module")
def alone_with_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two processes of tests do not start Ray at once: its parts would meet at ports that they take at random."""
    with (shared_base(tmp_path_factory) / "ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
