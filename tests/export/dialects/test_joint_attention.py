"""The transformer of Stable Diffusion 3.5 in each operator set: counted operators, and parity with PyTorch."""

from pathlib import Path

import pytest

from tests.support.checkpoints import make_checkpoint
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import components_of
from triptych.export.dialects.operators import MULTI_HEAD_ATTENTION, RMS_NORM
from triptych.export.exporter import export_component
from triptych.export.options import checked_options
from triptych.export.quiet import quiet

ATTENTIONS = 5
"""Three of image and text together, and in two of the blocks one of the image alone."""
NORMS = 2 * ATTENTIONS + 2 * 3
"""Of queries and keys: of the image in every attention, and of the text where it takes part."""


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("sd35") / "sd35", "sd35")


@pytest.mark.parametrize(
    ("dialect", "precision", "attentions", "norms"),
    [
        ("cuda", "fp16", ATTENTIONS, NORMS),
        ("cpu", "w8", ATTENTIONS, NORMS),
        ("portable", "fp16", 0, 0),
    ],
)
def test_attention_and_norms_are_counted(
    medium: Path, tmp_path: Path, dialect: str, precision: str, attentions: int, norms: int
) -> None:
    checkpoint = open_checkpoint(medium)
    options = checked_options(precision, dialect, None, None, False).for_checkpoint(checkpoint)
    with quiet():
        record = export_component(components_of(checkpoint)["transformer"], checkpoint, tmp_path / "t", options, None)
    assert record.graph.declared.get(MULTI_HEAD_ATTENTION, 0) == attentions
    assert record.graph.declared.get(RMS_NORM, 0) == norms
    assert record.operators.get(MULTI_HEAD_ATTENTION, 0) == attentions
    assert record.operators.get(RMS_NORM, 0) == norms
    assert record.parity.db > options.precision.floor_db
    if dialect != "portable":
        assert "Softmax" not in record.operators
