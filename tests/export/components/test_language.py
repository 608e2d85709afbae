"""Language models as text encoders: graphs equal transformers', with masks, at every length, in fp32 and fp16."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from tests.support.language import GATED, MASKED, NAME, SEVERAL, SMALL, T5, component_of, qwen3, saved, t5
from triptych.export.checkpoint import Checkpoint
from triptych.export.components import Component
from triptych.export.dialects import check_declared, declared_operators
from triptych.export.dialects.cuda import CUDA_DIALECT
from triptych.export.dialects.operators import MULTI_HEAD_ATTENTION, RMS_NORM
from triptych.export.exporter import export_component
from triptych.export.graph import count_operators, save, to_onnx
from triptych.export.manifest import ComponentRecord
from triptych.export.options import checked_options
from triptych.export.quantization.weight_operators import MATMUL_NBITS
from triptych.export.verification.overflow import LIMIT, largest_value
from triptych.export.verification.parity import reference_cases, verify
from triptych.runtime.errors import SourceError
from triptych.runtime.families.family import TextEncoder

RELU: dict[str, Any] = {**SMALL, "feed_forward_proj": "relu", "relative_attention_num_buckets": 16}


def exported(
    checkpoint: Checkpoint,
    folder: Path,
    described: TextEncoder = T5,
    precision: str = "fp32",
    dialect: str = "portable",
) -> ComponentRecord:
    """Export one component, which verifies it."""
    folder.mkdir(exist_ok=True)
    options = checked_options(precision, dialect, None, None, False)
    return export_component(lambda: component_of(checkpoint, described), checkpoint, folder / NAME, options, None)


def run(folder: Path, **inputs: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(folder / NAME / "model.onnx"))
    result: np.ndarray = session.run(None, inputs)[0]
    return result


@pytest.mark.parametrize(
    ("config", "described", "dialect"),
    [
        (GATED, MASKED, "cpu"),
        (GATED, T5, "portable"),
        pytest.param(RELU, MASKED, "portable", marks=pytest.mark.slow),
    ],
)
def test_t5_equals_transformers_at_any_length(
    tmp_path: Path, config: dict[str, Any], described: TextEncoder, dialect: str
) -> None:
    model = t5(config)
    record = exported(saved(model, tmp_path), tmp_path / "package", described, dialect=dialect)
    assert record.parity.db > 100
    assert record.graph.fp32_inside is None
    generator = np.random.default_rng(3)
    for shape in ((1, 1), (2, 77), (1, 300)):
        ids, mask = generator.integers(0, 300, shape), np.ones(shape, np.int64)
        mask[0, 1 + shape[1] // 2 :] = 0
        inputs = {"input_ids": ids} | ({"attention_mask": mask} if described.masked else {})
        with torch.no_grad():
            expected = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).last_hidden_state
        np.testing.assert_allclose(run(tmp_path / "package", **inputs), expected.numpy(), atol=1e-5, rtol=1e-4)
    operators = count_operators(tmp_path / "package" / NAME / "model.onnx")
    layers = SMALL["num_layers"]
    if dialect == "portable":
        assert not [name for name in operators if "::" in name or name == RMS_NORM]
        assert operators["Softmax"] == layers
    else:
        assert record.graph.declared == {MULTI_HEAD_ATTENTION: layers, RMS_NORM: 2 * layers + 1}
        assert "Softmax" not in operators


def larger(model: torch.nn.Module, name: str, factor: float) -> torch.nn.Module:
    """The model with the weights of all layers of a name multiplied."""
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if name in key:
                weight.mul_(factor)
    return model


def test_in_float16_the_residual_stream_may_be_larger_than_float16(tmp_path: Path) -> None:
    model = larger(t5(GATED), ".wo.", 1e5)
    values: list[float] = []
    for block in model.encoder.block:  # type: ignore[union-attr]
        block.register_forward_hook(lambda *each: values.append(float(each[2][0].abs().max())))
    with torch.no_grad():
        model(input_ids=torch.arange(50)[None])
    assert min(values) > 2 * LIMIT
    record = exported(saved(model, tmp_path), tmp_path / "package", precision="fp16")
    assert record.graph.kept_in_fp32 is None
    (value,) = re.findall(r"the residual stream, to which up to ([\d,]+) is added", record.graph.fp32_inside or "")
    assert int(value.replace(",", "")) > LIMIT
    assert record.parity.db > 50
    assert record.graph.outputs[0]["dtype"] == "float16"


@pytest.mark.parametrize(("layers", "factor"), [(".SelfAttention.v.", 1e6), (".wo.", 1e8)])
def test_products_that_overflow_float16_keep_the_encoder_in_float32(tmp_path: Path, layers: str, factor: float) -> None:
    component = component_of(saved(larger(t5(GATED), layers, factor), tmp_path), T5)
    with largest_value(component.module) as largest, torch.inference_mode():
        component.reference(input_ids=torch.arange(50)[None])
    assert largest.overflows


def test_weights_in_16_bits_are_computed_with_in_float32(tmp_path: Path) -> None:
    checkpoint = saved(t5(GATED).to(torch.bfloat16), tmp_path)
    assert exported(checkpoint, tmp_path / "package", MASKED, "fp16").parity.db > 50


@pytest.mark.parametrize("name", ["shared.weight", "encoder.embed_tokens.weight"])
def test_embeddings_are_found_under_either_name(tmp_path: Path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint = saved(t5(GATED), tmp_path)
    file = tmp_path / NAME / "model.safetensors"
    weights = load_file(file)
    (stored,) = {"shared.weight", "encoder.embed_tokens.weight"} & weights.keys()
    weights[name] = weights.pop(stored)
    save_file(weights, file, metadata={"format": "pt"})
    component: Component = component_of(checkpoint, T5)
    ids = torch.arange(9)[None]
    with torch.inference_mode():
        expected = t5(GATED)(input_ids=ids).last_hidden_state
        torch.testing.assert_close(component.reference(input_ids=ids)[0], expected)
    del weights[name]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(SourceError, match="small: text_encoder_3 lacks weights"):
        component_of(checkpoint, T5)


LAST_BUT_ONE = TextEncoder(NAME, "tokenizer", kind="qwen3", length=40, masked=True, states=(-2,))


@pytest.mark.parametrize(
    ("described", "dialect", "changes"),
    [
        (SEVERAL, "cpu", {"tie_word_embeddings": True}),
        (LAST_BUT_ONE, "portable", {"attention_bias": True, "num_key_value_heads": 6}),
    ],
)
def test_hidden_states_of_qwen3_equal_those_of_transformers(
    tmp_path: Path, described: TextEncoder, dialect: str, changes: dict[str, Any]
) -> None:
    model = qwen3(**changes)
    record = exported(saved(model, tmp_path), tmp_path / "package", described, dialect=dialect)
    assert record.parity.db > 100
    for shape in ((1, 1), (3, 60)):
        ids, mask = np.random.default_rng(3).integers(0, 300, shape), np.ones(shape, np.int64)
        mask[0, 1 + shape[1] // 2 :] = 0
        inputs = {"input_ids": ids, "attention_mask": mask}
        with torch.no_grad():
            tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
            states = model(**tensors, output_hidden_states=True).hidden_states
        expected = torch.cat([states[number] for number in described.states], dim=-1)
        np.testing.assert_allclose(run(tmp_path / "package", **inputs), expected.numpy(), atol=1e-5, rtol=1e-4)
    layers = 4
    if dialect == "cpu":
        assert record.graph.declared[MULTI_HEAD_ATTENTION] == layers
        assert record.graph.declared[RMS_NORM] == 4 * layers
    one = sum(weight.numel() for weight in model.model.layers[0].parameters())
    assert record.graph.parameters == model.model.embed_tokens.weight.numel() + layers * one


@pytest.mark.parametrize(
    "described", [pytest.param(MASKED, id="t5"), pytest.param(SEVERAL, id="qwen3", marks=pytest.mark.slow)]
)
def test_cuda_emits_its_operators_in_float16(tmp_path: Path, described: TextEncoder) -> None:
    """With weights for which the residual stream leaves float16; on the CPU, as an export verifies it."""
    model = larger(t5(GATED), ".wo.", 1e5) if described is MASKED else qwen3()
    component = component_of(saved(model, tmp_path), described)
    sizes = {"batch_size": 2, "sequence_length": 32}
    cases = reference_cases(component, sizes)
    component = replace(component, module=CUDA_DIALECT.rewrite(component.module).to(torch.float16))
    files = save(to_onnx(component, torch.float16, sizes), tmp_path)
    layers = SMALL["num_layers"] if described is MASKED else 4
    norms = 2 * layers + 1 if described is MASKED else 4 * layers
    declared = declared_operators(component, torch.float16)
    assert declared == {MULTI_HEAD_ATTENTION: layers, RMS_NORM: norms}
    check_declared(NAME, declared, count_operators(*files))
    assert verify(NAME, files[0], cases, 40.0, optimise=False).db > 50


def test_qwen3_in_float16(tmp_path: Path) -> None:
    model = larger(larger(qwen3().to(torch.bfloat16), ".down_proj.", 3e5), ".up_proj.", 100)
    with torch.no_grad():
        assert model(input_ids=torch.arange(50)[None], output_hidden_states=True).hidden_states[1].abs().max() > LIMIT
    checkpoint = saved(model, tmp_path)
    record = exported(checkpoint, tmp_path / "package", SEVERAL, "fp16")
    assert record.graph.kept_in_fp32 is None
    assert record.graph.outputs[0]["dtype"] == "float32"  # hidden states are those of the residual stream
    assert record.parity.db > 40


@pytest.mark.parametrize(
    "described", [pytest.param(T5, id="t5", marks=pytest.mark.slow), pytest.param(SEVERAL, id="qwen3")]
)
def test_weights_and_embeddings_in_8_bits(tmp_path: Path, described: TextEncoder) -> None:
    model = t5(GATED) if described is T5 else qwen3()
    record = exported(saved(model, tmp_path), tmp_path / "package", described, "w8", "cpu")
    assert record.parity.db > 30
    assert record.graph.declared[MATMUL_NBITS] == 7 * (SMALL["num_layers"] if described is T5 else 4)
    graph = onnx.load(tmp_path / "package" / NAME / "model.onnx").graph
    tables = {tuple(each.dims): each.data_type for each in graph.initializer if each.dims and each.dims[0] == 300}
    assert tables == {(300, model.config.hidden_size): onnx.TensorProto.INT8, (300, 1): onnx.TensorProto.FLOAT}
