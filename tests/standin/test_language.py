"""Language models as text encoders in the cuda operator set: every node is on CUDA."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.language import GATED, MASKED, SEVERAL, component_of, qwen3, saved, t5
from triptych.export.dialects.cuda import CUDA_DIALECT
from triptych.export.graph import save, to_onnx
from triptych.runtime.families.family import TextEncoder

from .environment import Environment
from .process import run

pytestmark = pytest.mark.slow

SIZES = {"batch_size": 2, "sequence_length": 64}


@pytest.mark.parametrize("described", [MASKED, SEVERAL], ids=["t5", "qwen3"])
def test_every_node_is_on_cuda(standin: Environment, tmp_path: Path, described: TextEncoder) -> None:
    """With heads of the size that the published models have."""
    model = t5(GATED | {"d_kv": 64}) if described is MASKED else qwen3(head_dim=128)
    component = component_of(saved(model, tmp_path), described)
    component = replace(component, module=CUDA_DIALECT.rewrite(component.module).to(torch.float16))
    graph, *_ = save(to_onnx(component, torch.float16, SIZES), tmp_path)
    shapes = json.dumps(component.shapes(SIZES))
    finished = run(standin, tmp_path, "-m", "tests.standin.programs.graph", graph, shapes)
    assert finished.status == 0, finished.stderr
    placement = json.loads(finished.stdout)
    assert placement.keys() == {"CUDAExecutionProvider"}
    assert {"MultiHeadAttention", "SimplifiedLayerNormalization"} <= placement["CUDAExecutionProvider"].keys()
    assert finished.log.of("refused").events == ()
