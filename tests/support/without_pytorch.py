"""Pytest plugin for environments without PyTorch: a test that imports what is not installed is skipped.

`tests/conftest.py` registers it where PyTorch is missing. The import itself decides, in a module, a fixture or a test:
there is no list of files to keep.
"""

import importlib.util
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest


class Module(pytest.Module):
    """Test module that is skipped as a whole where it cannot be imported."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Import the module and collect its tests."""
        try:
            return super().collect()
        except self.CollectError as error:
            if isinstance(error.__cause__, ModuleNotFoundError):
                _skip_if_not_installed(error.__cause__)
            raise


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Collect every file of tests as such a module."""
    return Module.from_parent(parent, path=module_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    """Skip a test whose fixtures import what is not installed."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        _skip_if_not_installed(error)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Skip a test that imports what is not installed."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        _skip_if_not_installed(error)
        raise


def _skip_if_not_installed(error: ModuleNotFoundError) -> None:
    """Skip for a library that is not installed; a missing module of this repository remains an error."""
    library = str(error.name).partition(".")[0]
    if library not in ("triptych", "tests") and importlib.util.find_spec(library) is None:
        pytest.skip(f"needs {library}", allow_module_level=True)
