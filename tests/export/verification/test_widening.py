"""Weights that stay in float16 compute what they do in float32."""

from pathlib import Path

import pytest
import torch
from torch import nn

from triptych.benchmarks.checkpoints.architectures import ARCHITECTURES
from triptych.benchmarks.checkpoints.make_checkpoint import write_checkpoint
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import Component, components_of
from triptych.export.verification.widening import widened


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SDXL in float16."""
    pipeline, _, small = ARCHITECTURES["sdxl"]
    return write_checkpoint(tmp_path_factory.mktemp("halves"), small, pipeline=pipeline, dtype=torch.float16)


@pytest.mark.parametrize("name", ["text_encoder", "text_encoder_2", "unet"])
def test_a_component_in_float16_answers_as_in_float32(halves: Path, name: str) -> None:
    component = components_of(open_checkpoint(halves))[name]()
    weights = dict(component.module.named_parameters())
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    with widened(component.module):
        narrow = _answers(component)
    after = dict(component.module.named_parameters())
    assert all(weight is after[key] for key, weight in weights.items())
    component.module.float()
    torch.testing.assert_close(narrow, _answers(component), rtol=0, atol=0)


def test_weights_are_as_before_when_a_part_fails() -> None:
    layers = nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 6)).half()
    weights = list(layers.parameters())
    with pytest.raises(RuntimeError, match="shapes"), widened(layers):
        layers(torch.zeros(1, 3))
    assert all(weight is before for weight, before in zip(layers.parameters(), weights, strict=True))
    with pytest.raises(RuntimeError, match="dtype"):
        layers[0](torch.zeros(1, 3))


def _answers(component: Component) -> tuple[torch.Tensor, ...]:
    inputs = component.draw(component.cases[1], seed=0)
    with torch.inference_mode():
        return component.reference(**{name: torch.from_numpy(array) for name, array in inputs.items()})
