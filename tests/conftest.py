"""One tiny checkpoint and its exported package serve the whole run: exporting takes seconds, not milliseconds."""

import fcntl
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

# before any library of the ecosystem is imported: no test reaches the network
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # tests import ONNX Runtime themselves, and before the runtime


def pytest_configure(config: pytest.Config) -> None:
    """Skip what needs PyTorch where there is none."""
    # Not in pyproject.toml: pytest would import the class, and with it the runtime, before its coverage is measured
    config.addinivalue_line("filterwarnings", "error::triptych.runtime.errors.TriptychWarning")
    if importlib.util.find_spec("torch") is None:
        from tests.support import without_pytorch

        config.pluginmanager.register(without_pytorch)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of a run: digests of its packages are of no use to anybody else."""
    os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))  # its fonts take seconds to find
    folder = shared_base(tmp_path_factory) / "cache"
    os.environ["XDG_CACHE_HOME"] = str(folder)
    return folder


STATIC = (2, 144, 112)
"""Batch of the U-Net, height and width in pixels: no multiples of the U-Net's own factor."""


def shared_base(factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of a run share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def once(factory: pytest.TempPathFactory, place: str, make: Callable[[Path], Path]) -> Path:
    """Let the first process that needs it `make` a folder, at a place that all processes of a run share."""
    folder = shared_base(factory) / place
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return folder if folder.exists() else make(folder)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random StableDiffusionPipeline folder, see tests/support/checkpoints.py. Not to be written to."""
    from tests.support.checkpoints import make_checkpoint

    return once(tmp_path_factory, "checkpoint/tiny", make_checkpoint)


@pytest.fixture(scope="session")
def package(exported_package: Path) -> Path:
    """The exported package; tests of the runtime have another one, see tests/runtime/conftest.py."""
    return exported_package


@pytest.fixture(scope="session")
def exported_package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, exported in fp32 with dynamic shapes, for this machine's CPU. Not to be written to."""
    from triptych.export import export

    return once(tmp_path_factory, "package/tiny", lambda folder: export(str(checkpoint), folder, dialect="cpu"))


@pytest.fixture(scope="session")
def portable_package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, exported in standard operators alone. Not to be written to."""
    from triptych.export import export

    return once(tmp_path_factory, "portable/tiny", lambda folder: export(checkpoint, folder, dialect="portable"))


@pytest.fixture(scope="session")
def xl_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random StableDiffusionXLPipeline folder, see tests/support/checkpoints.py. Not to be written to."""
    from tests.support.checkpoints import make_checkpoint

    return once(tmp_path_factory, "xl-checkpoint/sdxl", lambda folder: make_checkpoint(folder, "sdxl"))


@pytest.fixture(scope="session")
def xl_package(xl_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SDXL checkpoint, exported as `package` is. Not to be written to."""
    from triptych.export import export

    return once(tmp_path_factory, "xl-package/sdxl", lambda folder: export(xl_checkpoint, folder, dialect="cpu"))


@pytest.fixture(scope="session")
def static_package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, exported in fp16 for STATIC with external data. Not to be written to."""
    from triptych.export import export
    from triptych.export.graph import writing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "EXTERNAL_DATA_BYTES", 1_000_000)  # of the four, the U-Net alone has as much
        return once(
            tmp_path_factory, "static/tiny", lambda folder: export(checkpoint, folder, precision="fp16", static=STATIC)
        )
