"""A second package of the tiny checkpoint: float16, fixed shapes, weights beside the graphs."""

from pathlib import Path

import pytest

STATIC = (2, 144, 112)
"""Batch of the U-Net, height and width in pixels: no multiples of the U-Net's own factor."""


@pytest.fixture(scope="session")
def static_package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, exported in fp16 for STATIC with external data. Not to be written to."""
    from triptych.export import export, graph

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "EXTERNAL_DATA_BYTES", 1_000_000)  # of the four, the U-Net alone has as much
        return export(checkpoint, tmp_path_factory.mktemp("static") / "tiny", precision="fp16", static=STATIC)
