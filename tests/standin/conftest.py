"""The environment, and packages that run on the stand-in."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import once

from .build import COMPILERS
from .environment import Environment, environment
from .process import REPOSITORY


@pytest.fixture(scope="session")
def standin() -> Environment:
    """The environment of the stand-in, made where it is missing; the tests are skipped where nothing can build it."""
    missing = [tool for tool in COMPILERS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} are needed to build a stand-in for CUDA")
    return environment()


@pytest.fixture(scope="session")
def demo_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo checkpoint, exported for CUDA in fp16. Not to be written to."""
    from triptych.export import export

    def make(folder: Path) -> Path:
        return export(REPOSITORY / "models" / "emoji", folder, dialect="cuda", precision="fp16")

    return once(tmp_path_factory, "standin/demo", make)
