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


@pytest.mark.parametrize(("name", "dialect"), [("vae_encoder", "portable"), ("unet", "cpu")])
def test_graphs_are_those_of_decomposition(
    name: str, dialect: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped: list[bool] = []

    def skip(program: ExportedProgram) -> None:
        skip_decomposition(program)
        skipped.append(program.run_decompositions({}) is program)

    with quiet():
        monkeypatch.setattr(capture, "skip_decomposition", skip)
        converted = capture.to_onnx(component(checkpoint, name, dialect), torch.float32)
        monkeypatch.setattr(capture, "skip_decomposition", lambda program: None)
        decomposed = capture.to_onnx(component(checkpoint, name, dialect), torch.float32)
    assert skipped == [True]
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
