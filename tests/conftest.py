"""One tiny checkpoint and its exported package serve the whole run: exporting takes seconds, not milliseconds."""

import os
from pathlib import Path

import pytest

# before any library of the ecosystem is imported: no test reaches the network
os.environ.setdefault("HF_HUB_OFFLINE", "1")


STATIC = (2, 144, 112)
"""Batch of the U-Net, height and width in pixels: no multiples of the U-Net's own factor."""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random StableDiffusionPipeline folder, see tests/checkpoints.py. Not to be written to."""
    from tests.checkpoints import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, exported in fp32 with dynamic shapes, for this machine's CPU. Not to be written to."""
    from triptych.export import export

    return export(str(checkpoint), tmp_path_factory.mktemp("package") / "tiny", dialect="cpu")


@pytest.fixture(scope="session")
def portable_package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in standard operators alone. Not to be written to."""
    from triptych.export import export

    return export(checkpoint, tmp_path_factory.mktemp("portable") / "tiny", dialect="portable")


@pytest.fixture(scope="session")
def xl_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random StableDiffusionXLPipeline folder, see tests/checkpoints.py. Not to be written to."""
    from tests.checkpoints import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("xl-checkpoint") / "sdxl", "sdxl")


@pytest.fixture(scope="session")
def xl_package(xl_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a package, as `package` is of the other. Not to be written to."""
    from triptych.export import export

    return export(xl_checkpoint, tmp_path_factory.mktemp("xl-package") / "sdxl", dialect="cpu")


@pytest.fixture(scope="session")
def static_package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, exported in fp16 for STATIC with external data. Not to be written to."""
    from triptych.export import export, graph

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "EXTERNAL_DATA_BYTES", 1_000_000)  # of the four, the U-Net alone has as much
        return export(checkpoint, tmp_path_factory.mktemp("static") / "tiny", precision="fp16", static=STATIC)
