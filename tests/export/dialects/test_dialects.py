"""Operators that modules declare are in the graph, compute the same, and are loaded as written."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.upsampling import Upsample2D
from hypothesis import given
from hypothesis import strategies as st

from triptych.benchmarks.checkpoints.architectures import FULL
from triptych.export import export, exporter
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import Component, Input, components_of
from triptych.export.components.modules import UNet
from triptych.export.dialects import DIALECTS, check_declared, declared_operators, default_dialect, dialect_named
from triptych.export.dialects.cpu import FusedAttention, fuse_attention
from triptych.export.dialects.operators import MULTI_HEAD_ATTENTION, QUICK_GELU
from triptych.export.dialects.upsample import PhasedUpsample, phase_upsample
from triptych.export.graph import count_operators
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError, ProviderError, VerificationError
from triptych.runtime.ort.blocking import channels_block
from triptych.runtime.ort.device import Device
from triptych.runtime.package.graphs import load_graph
from triptych.runtime.package.package import open_package

COMPONENTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")


def operators(package: Path, component: str) -> dict[str, int]:
    return count_operators(package / component / "model.onnx")


def test_portable_emits_standard_operators_alone(portable_package: Path) -> None:
    for component in COMPONENTS:
        assert not [name for name in operators(portable_package, component) if "::" in name]


def test_cpu_emits_its_operators_as_often_as_the_manifest_records(package: Path) -> None:
    manifest = json.loads((package / "triptych.json").read_text())
    assert manifest["dialect"] == "cpu"
    for component in COMPONENTS:
        facts, written = manifest["components"][component], operators(package, component)
        assert facts["optimised"]
        assert facts["operators"] == written
        assert facts["said"][MULTI_HEAD_ATTENTION] > 0
        assert facts["said"] == {operator: written[operator] for operator in facts["said"]}
        assert "Softmax" not in written


def test_declared_operators_of_sd15() -> None:
    """The architecture alone, on tensors without values: 16 transformer blocks of two attentions each."""
    config = FULL["unet"]
    with torch.device("meta"):
        module = UNet(diffusers.UNet2DConditionModel(**config))
    module.to_empty(device="cpu")  # memory that nothing ever touches
    dialect_named("cpu").rewrite(module)
    component = component_like(module, config["sample_size"], config["cross_attention_dim"])
    assert declared_operators(component) == {MULTI_HEAD_ATTENTION: 32, QUICK_GELU: 47}


def component_like(module: torch.nn.Module, size: int, width: int) -> Component:
    shapes = {"sample": (1, 4, size, size), "timestep": (), "encoder_hidden_states": (1, 77, width)}
    inputs = {name: Input(shape, lambda generator, drawn: np.zeros(drawn)) for name, shape in shapes.items()}
    return Component("unet", {}, module, module, inputs, {"out_sample": (1, 4, size, size)}, {}, ())


@pytest.mark.parametrize("name", COMPONENTS)
def test_rewritten_modules_compute_the_same(checkpoint: Path, name: str) -> None:
    component = components_of(open_checkpoint(checkpoint))[name]()
    for seed, sizes in enumerate(component.cases):
        inputs = {key: torch.from_numpy(array) for key, array in component.draw(sizes, seed).items()}
        with torch.inference_mode():
            expected = component.reference(**inputs)
            rewritten = components_of(open_checkpoint(checkpoint))[name]().module
            dialect_named("cpu").rewrite(rewritten)
            given = rewritten(**inputs)
        for one, other in zip(given, expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_count_that_differs_publishes_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "declared_operators", lambda component, dtype: {MULTI_HEAD_ATTENTION: 99})
    with pytest.raises(VerificationError, match=r"MultiHeadAttention was declared 99 times, the graph has \d+"):
        export(checkpoint, tmp_path / "package", dialect="cpu")
    assert not any(tmp_path.iterdir())


def test_what_is_said_twice_counts_twice() -> None:
    check_declared("unet", {"Gelu": 2}, Counter(Gelu=2, Conv=7))
    with pytest.raises(VerificationError, match="Gelu was declared 1 times, the graph has 2"):
        check_declared("unet", {"Gelu": 1}, {"Gelu": 2})


@pytest.mark.parametrize("option", [{"qk_norm": "layer_norm"}, {"cross_attention_norm": "layer_norm"}])
def test_attention_that_does_more_is_left_to_standard_operators(option: dict[str, str]) -> None:
    plain, more = Attention(32, 32, heads=2, dim_head=16), Attention(32, 32, heads=2, dim_head=16, **option)
    assert isinstance(fuse_attention(plain), FusedAttention)
    assert fuse_attention(more) is more


def test_an_optimised_graph_runs_as_it_was_written(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []
    create = ort.InferenceSession

    def session(path: str, options: ort.SessionOptions, **rest: object) -> ort.InferenceSession:
        levels.append(options.graph_optimization_level)
        return create(path, options, **rest)

    monkeypatch.setattr(ort, "InferenceSession", session)
    load_graph(open_package(package), Device("cpu", (("CPUExecutionProvider", {}),)), "unet")
    assert levels == [ort.GraphOptimizationLevel.ORT_DISABLE_ALL]


def test_both_operator_sets_make_the_same_image(package: Path, portable_package: Path) -> None:
    one, other = (
        TextToImage.load(path, device="cpu")("a red heart", seed=3, num_inference_steps=4).latents
        for path in (package, portable_package)
    )
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_package_for_another_device_is_refused(package: Path) -> None:
    opened = open_package(package)
    for_cuda = replace(opened, manifest=replace(opened.manifest, dialect="cuda"))
    with pytest.raises(ProviderError, match=r"exported with the operators of cuda.*export it with --dialect portable"):
        load_graph(for_cuda, Device("cpu", (("CPUExecutionProvider", {}),)), "unet")


def test_a_package_for_another_kind_of_cpu_is_refused(package: Path) -> None:
    opened, here = open_package(package), channels_block()
    assert opened.manifest.channels_block == here
    elsewhere = replace(opened, manifest=replace(opened.manifest, channels_block=2 * here))
    with pytest.raises(ProviderError, match=f"in blocks of {2 * here}, and this one's take {here};"):
        load_graph(elsewhere, Device("cpu", (("CPUExecutionProvider", {}),)), "unet")


def test_cpu_has_no_operators_in_float16(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="operator set cpu has no operators in fp16; allowed: fp32"):
        export(checkpoint, tmp_path / "package", dialect="cpu", precision="fp16")
    assert default_dialect("fp16").name == "portable"
    assert default_dialect("fp32").name == "cpu"


@given(
    channels=st.integers(1, 5),
    out=st.integers(1, 4),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    bias=st.booleans(),
)
def test_upsampling_in_phases_is_exact(channels: int, out: int, height: int, width: int, bias: bool) -> None:
    upsample = Upsample2D(channels, use_conv=True, out_channels=out, bias=bias).double()
    phased, x = phase_upsample(upsample), torch.randn(2, channels, height, width, dtype=torch.float64)
    assert isinstance(phased, PhasedUpsample)
    for size in (None, (2 * height, 2 * width), (2 * height - 1, 2 * width)):
        torch.testing.assert_close(phased(x, size), upsample(x, size), rtol=1e-12, atol=1e-12)


def test_axes_stay_open_when_optimised(package: Path) -> None:
    sample = ir.load(package / "unet" / "model.onnx").graph.inputs[0]
    assert [str(axis) for axis in sample.shape or ()] == ["batch_size", "4", "height", "width"]


def test_names_of_the_operator_sets() -> None:
    optimised = {name: dialect.optimised for name, dialect in DIALECTS.items()}
    assert optimised == {"portable": False, "cpu": True, "cuda": False}
