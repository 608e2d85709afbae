"""Programs that are converted as captured: their graphs are those that PyTorch's decomposition gives."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.export import ExportedProgram

from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import Component, components_of
from triptych.export.dialects import dialect_named
from triptych.export.graph import capture
from triptych.export.graph.decomposition import skip_decomposition
from triptych.export.quiet import quiet


def component(checkpoint: Path, name: str, dialect: str) -> Component:
    loaded = components_of(open_checkpoint(checkpoint))[name]()
    return replace(loaded, module=dialect_named(dialect).rewrite(loaded.module.float()))


def operators(model: ir.Model) -> Counter[tuple[str, int]]:
    """Operator and number of inputs -> number of nodes."""
    return Counter((node.op_type, len(node.inputs)) for node in model.graph.all_nodes())


class Skipped(Exception):
    """The program is converted as captured."""


@pytest.mark.parametrize("dialect", ["cpu", "portable"])
def test_the_denoiser_is_converted_as_captured(dialect: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def skip(program: ExportedProgram) -> None:
        skip_decomposition(program)
        assert program.run_decompositions({}) is program
        raise Skipped

    monkeypatch.setattr(capture, "skip_decomposition", skip)
    with quiet(), pytest.raises(Skipped):
        capture.to_onnx(component(checkpoint, "unet", dialect), torch.float32)


def test_a_graph_is_that_of_decomposition(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with quiet():
        converted = capture.to_onnx(component(checkpoint, "vae_encoder", "portable"), torch.float32)
        monkeypatch.setattr(capture, "skip_decomposition", lambda program: None)
        decomposed = capture.to_onnx(component(checkpoint, "vae_encoder", "portable"), torch.float32)
    assert operators(converted) == operators(decomposed)


def test_a_program_with_another_operator_is_left_as_it_is() -> None:
    class Tangent(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tan(x.reshape(-1).to(torch.float64))

    program = torch.export.export(Tangent(), (torch.zeros(2, 3),))
    before = str(program.graph)
    skip_decomposition(program)
    assert str(program.graph) == before
    assert program.run_decompositions({}) is not program
