"""Packages of the runtime's tests: a tiny one that is written here, so that most tests need no PyTorch."""

from pathlib import Path

import pytest

from tests.conftest import once
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
