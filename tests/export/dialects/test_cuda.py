"""The cuda operator set without a GPU: its operators are defined in numpy, and ONNX Runtime expands them on CPU."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.export.dialects.contrib_reference import OPERATORS
from tests.support.checkpoints import make_checkpoint
from tests.support.graphs import write_graph
from triptych.benchmarks.checkpoints.architectures import FULL, FULL_REFINER
from triptych.export import export, exporter
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import Component, StaticShape, components_of, static_sizes
from triptych.export.components.modules import Decoder, UNet
from triptych.export.dialects import declared_operators, graphs_of
from triptych.export.dialects.cuda import CUDA_DIALECT, cuda_dialect
from triptych.export.dialects.cuda_layers import Choices
from triptych.export.dialects.dialect import FusedModule
from triptych.export.graph import OPSET, count_operators, save, to_onnx
from triptych.export.quiet import quiet
from triptych.export.verification import expansion
from triptych.export.verification.on_cpu import OnCpu
from triptych.export.verification.parity import ReferenceCase, reference_cases
from triptych.runtime.families.parts import MODEL

FLOOR_DB = 100.0
"""In float32, where what remains is rounding; a wrong layout or a lost bias gives less than 30 dB."""

STATIC = (2, 72, 56)
"""Odd at every level of the U-Net."""
CASES = [("text_encoder", "odd"), ("unet", "odd"), *((name, "hold") for name in ("unet", "vae_decoder", "vae_encoder"))]
OTHERS = Choices(nhwc_conv=False, packed=False)
SIZES_THAT_HOLD: dict[str, Any] = {
    "unet": {
        "block_out_channels": (32, 320),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 16,
    },
    "vae": {"block_out_channels": (16, 32, 32, 48), "norm_num_groups": 8},
}
"""Sizes that the kernels take in all layers but those of 32 channels."""


class Evaluated(OnCpu):
    """A component whose operators are evaluated as numpy defines them."""

    def __init__(self, graph: Path, parts: Sequence[str]) -> None:
        super().__init__(graph, parts)
        names = {MODEL: graph, **{part: graph.with_name(f"{part}.onnx") for part in parts}}
        self._evaluators = {name: ReferenceEvaluator(str(file), new_ops=OPERATORS) for name, file in names.items()}

    def _run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        evaluator = self._evaluators[name]
        return dict(zip(evaluator.output_names, evaluator.run(None, dict(inputs)), strict=True))


class Exported:
    """A component of a checkpoint in the cuda operator set, in float32.

    Attributes:
        path, parts: file of its own graph, and names of those beside it.
        counts: declared operators.
        cases: inputs and PyTorch's outputs.
    """

    def __init__(self, checkpoint: Path, name: str, folder: Path, choices: Choices) -> None:
        opened = open_checkpoint(checkpoint)
        component: Component = components_of(opened)[name]()
        sizes = static_sizes(opened, component, StaticShape(*STATIC))
        folder.mkdir(parents=True)
        with quiet():
            self.cases = reference_cases(component, sizes)
            component = replace(component, module=cuda_dialect(choices).rewrite(component.module))
            graphs = graphs_of(component, sizes)
            self.counts: Counter[str] = Counter()
            for part, each in graphs.items():
                self.counts.update(declared_operators(each))
                self.path = save(to_onnx(each, torch.float32, sizes), folder, part)[0]  # the own graph is the last
            self.parts = [part for part in graphs if part != MODEL]

    @property
    def files(self) -> list[Path]:
        """All graphs."""
        return [self.path, *(self.path.with_name(f"{part}.onnx") for part in self.parts)]


@pytest.fixture(scope="module")
def graphs(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(kind of sizes, component, choices) -> Exported, each exported once."""
    root = tmp_path_factory.mktemp("cuda")
    sources = {"hold": make_checkpoint(root / "source", **SIZES_THAT_HOLD), "odd": checkpoint}
    made: dict[Any, Exported] = {}

    def get(sizes: str, component: str, choices: Choices = Choices()) -> Exported:  # noqa: B008
        key = (sizes, component, choices)
        if key not in made:
            made[key] = Exported(sources[sizes], component, root / str(len(made)), choices)
        return made[key]

    return get


def decibels(outputs: dict[str, np.ndarray], case: ReferenceCase) -> float:
    worst = np.inf
    for name, expected in case.outputs.items():
        noise = np.sum((outputs[name].astype(np.float64) - expected) ** 2)
        worst = min(worst, 10 * np.log10(np.sum(expected.astype(np.float64) ** 2) / max(noise, 1e-300)))
    return float(worst)


@pytest.mark.parametrize(("component", "sizes"), CASES)
def test_the_numpy_definitions_give_what_pytorch_gives(graphs: Any, component: str, sizes: str) -> None:
    made: Exported = graphs(sizes, component)
    case = made.cases[0]
    assert decibels(Evaluated(made.path, made.parts)(case.inputs), case) > FLOOR_DB


@pytest.mark.parametrize(("component", "sizes"), CASES)
@pytest.mark.parametrize("choices", [Choices(), OTHERS], ids=["default", "others"])
def test_expanded_graphs_give_what_pytorch_gives(graphs: Any, component: str, sizes: str, choices: Choices) -> None:
    if choices == OTHERS and (component, sizes) != ("unet", "hold"):
        pytest.skip("what can be chosen is the same in all of them")
    made: Exported = graphs(sizes, component, choices)
    expanded = OnCpu(made.path, made.parts)
    for case in made.cases:
        assert decibels(expanded(case.inputs), case) > FLOOR_DB


@pytest.mark.parametrize(("component", "sizes"), CASES)
def test_the_graph_holds_what_was_said(graphs: Any, component: str, sizes: str) -> None:
    made: Exported = graphs(sizes, component)
    contrib = {name: number for name, number in count_operators(*made.files).items() if "::" in name}
    assert contrib == made.counts != {}


def test_the_unet_is_channels_last_from_end_to_end_and_computes_no_shapes(graphs: Any) -> None:
    operators = count_operators(graphs("hold", "unet").path)
    assert operators["Transpose"] == 2
    assert not operators.keys() & {"Shape", "Gather", "Range", "ConstantOfShape", "Conv", "Where", "Identity", "Resize"}
    assert operators["com.microsoft::BiasSplitGelu"] == operators["com.microsoft::MultiHeadAttention"] / 2 == 4


@pytest.mark.parametrize(("choices", "own"), [(Choices(), 1), (OTHERS, 3)], ids=["default", "others"])
def test_keys_and_values_of_the_text_are_apart(graphs: Any, choices: Choices, own: int) -> None:
    model = onnx.load(graphs("hold", "unet", choices).path, load_external_data=False)
    attentions = [node for node in model.graph.node if node.op_type == "MultiHeadAttention"]
    assert [len(node.input) for node in attentions] == [own, 3] * (len(attentions) // 2)
    for number, node in enumerate(attentions[1::2]):
        assert list(node.input[1:]) == [f"key_{number}", f"value_{number}"]


def test_a_call_of_the_unet_computes_nothing_of_the_text_or_of_time(graphs: Any) -> None:
    made: Exported = graphs("hold", "unet")
    assert made.parts == ["text", "time"]
    own, text, time = (count_operators(file) for file in made.files)
    assert text == {"MatMul": 2 * made.counts["com.microsoft::MultiHeadAttention"] / 2}
    assert not own.keys() & {"Sin", "Cos"}
    assert time["Sin"] == time["Cos"] == 1
    assert not (text | time).keys() & {"Shape", "Range", "ConstantOfShape", "Where", "Reshape"}
    model = onnx.load(made.path, load_external_data=False)
    shifted = [node for node in model.graph.node if node.op_type == "SkipGroupNorm" and len(node.input) == 4]
    assert [node.input[3] for node in shifted] == [f"shift_{number}" for number in range(len(shifted))]


@pytest.mark.parametrize(
    ("model", "unet"),
    [("sdxl", {}), ("refiner", {}), ("sd15", {"time_cond_proj_dim": 32})],
    ids=["sdxl", "refiner", "guidance embedded"],
)
def test_micro_conditioning_is_that_of_each_row(tmp_path: Path, model: str, unet: dict[str, Any]) -> None:
    source = make_checkpoint(tmp_path / "source", model, unet=unet)
    made = Exported(source, "unet", tmp_path / "graphs", Choices())
    component = OnCpu(made.path, made.parts)
    for case in made.cases:
        assert decibels(component(case.inputs), case) > FLOOR_DB


@pytest.mark.parametrize("encoder", ["text_encoder", "text_encoder_2"])
@pytest.mark.parametrize("end", [649, 2], ids=["end token", "highest id"])
def test_the_pooled_token_is_that_of_transformers(xl_checkpoint: Path, tmp_path: Path, encoder: str, end: int) -> None:
    component = components_of(open_checkpoint(xl_checkpoint))[encoder]()
    clip: Any = component.original
    getattr(clip, "text_model", clip).eos_token_id = end
    ids = np.full((4, 77), 649, np.int64)  # an end token at once, in the middle and last, and none
    ids[:, 0], ids[1, 1:9], ids[2, 1:-1], ids[3, 1:] = 648, 17, 23, 7
    ids[3, 30] = 8
    with torch.inference_mode(), quiet():
        expected = dict(zip(component.outputs, component.reference(torch.from_numpy(ids)), strict=True))
        rewritten = replace(component, module=CUDA_DIALECT.rewrite(component.module))
        path = save(to_onnx(rewritten, torch.float32, {"batch_size": 4, "sequence_length": 77}), tmp_path)[0]
    given = dict(zip(component.outputs, expansion.open_on_cpu(path).run(None, {"input_ids": ids}), strict=True))
    states = given["last_hidden_state"]
    if encoder == "text_encoder":
        states_there, pooled_there = expected["last_hidden_state"], expected["pooler_output"]
        places = (states_there == pooled_there[:, None]).all(-1).int().argmax(1)
        assert places.tolist() == [1, 9, 76, 0]
        np.testing.assert_array_equal(given["pooler_output"], states[range(4), places])
    for name, output in expected.items():
        np.testing.assert_allclose(given[name], output, atol=1e-5)
    assert "ArgMax" not in count_operators(path)


def test_sizes_that_no_kernel_takes_are_left_to_standard_operators(graphs: Any) -> None:
    counts = graphs("odd", "unet").counts  # 3, 5 and 7 channels a group; some skip connections make the number even
    assert "com.microsoft::BiasSplitGelu" not in counts
    assert counts["com.microsoft::GroupNorm"] == 6
    assert count_operators(graphs("odd", "unet").path)["Gelu"] == counts["com.microsoft::MultiHeadAttention"] / 2


@pytest.mark.parametrize("component", ["unet", "vae_decoder", "vae_encoder"])
def test_onnx_runtime_takes_the_graph_but_for_kernels_that_only_cuda_has(graphs: Any, component: str) -> None:
    with pytest.raises(Exception, match=r"(find an implementation|find kernel) for .*(NhwcConv|GroupNorm)"):
        ort.InferenceSession(str(graphs("hold", component).path), providers=["CPUExecutionProvider"])


def test_normalizations_stay_in_float32_when_the_network_is_cast(checkpoint: Path) -> None:
    module = CUDA_DIALECT.rewrite(components_of(open_checkpoint(checkpoint))["unet"]().module).half()
    kinds = {name.rsplit(".", 1)[1]: tensor.dtype for name, tensor in module.named_parameters() if "entry" in name}
    assert kinds == {"gamma": torch.float32, "beta": torch.float32}
    assert {tensor.dtype for name, tensor in module.named_parameters() if "conv" in name} == {torch.float16}


def declared_at_full_size(module: torch.nn.Module) -> Counter[str]:
    fused = [part for part in CUDA_DIALECT.rewrite(module).modules() if isinstance(part, FusedModule)]
    return Counter(operator.removeprefix("com.microsoft::") for part in fused for operator in part.emits)


def test_stable_diffusion_declares_every_operator_at_full_size() -> None:
    with torch.device("meta"):
        assert declared_at_full_size(UNet(UNet2DConditionModel(**FULL["unet"]))) == {
            "NhwcConv": 98,
            "MultiHeadAttention": 32,
            "GroupNorm": 16,
            "SkipGroupNorm": 45,
            "SkipLayerNormalization": 32,
            "BiasSplitGelu": 16,
            "BiasAdd": 31,
        }
        # the decoder's only attention has one head of 512, which flash attention does not take; it ends in 3 channels
        decoder = declared_at_full_size(Decoder(AutoencoderKL(**FULL["vae"])))
        assert decoder == {"NhwcConv": 35, "GroupNorm": 4, "SkipGroupNorm": 26, "BiasAdd": 3}


def test_the_refiner_declares_every_operator_at_full_size() -> None:
    with torch.device("meta"):
        net = UNet2DConditionModel(**FULL_REFINER["unet"])
        counts = declared_at_full_size(UNet(net))
    blocks = [part for part in net.modules() if isinstance(part, BasicTransformerBlock)]
    assert counts["BiasSplitGelu"] == counts["MultiHeadAttention"] / 2 == len(blocks) > 0


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 2), side=st.integers(1, 5), groups=st.integers(1, 3), size=st.integers(1, 4), data=st.data())
@pytest.mark.parametrize("key", sorted(expansion.OPERATORS))
def test_expansions_equal_the_numpy_definitions(
    tmp_path_factory: pytest.TempPathFactory,
    key: tuple[str, int],
    rows: int,
    side: int,
    groups: int,
    size: int,
    data: st.DataObject,
) -> None:
    operator, count = key
    channels = groups * size
    image, tokens = [rows, side, side + 1, channels], [rows, side, 2 * channels]
    norm = {"epsilon": 1e-3, "groups": groups, "activation": data.draw(st.integers(0, 1)), "channels_last": 1}
    shift = [rows, channels] if count == 4 else image
    kernel, stride = data.draw(st.sampled_from([1, 3])), data.draw(st.integers(1, 2))
    edge = kernel // 2
    convolution = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [edge] * 4, "dilations": [1, 1]}
    kinds: dict[str, tuple[list[list[int]], dict[str, Any]]] = {
        "NhwcConv": ([image, [3, kernel, kernel, channels], [3]], convolution | {"group": 1}),
        "GroupNorm": ([image, [channels], [channels]], norm),
        "SkipGroupNorm": ([image, [channels], [channels], shift, [channels]], norm),
        "BiasAdd": ([tokens, tokens[2:], tokens], {}),
        "BiasSplitGelu": ([tokens, tokens[2:]], {}),
        "MultiHeadAttention": ([[rows, side, groups, 3, size]], {"num_heads": groups}),
    }
    shapes, attributes = kinds[operator]
    names = "abcde"[:count]
    node = helper.make_node(operator, list(names), ["y"], domain="com.microsoft", **attributes)
    values = [(name, TensorProto.FLOAT, shape) for name, shape in zip(names, shapes, strict=False)]
    path = write_graph(tmp_path_factory.mktemp("one") / "model.onnx", [node], values, [("y", TensorProto.FLOAT, None)])
    model = onnx.load(path)
    model.opset_import[0].version = OPSET
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    generator = np.random.default_rng(data.draw(st.integers(0, 9)))
    inputs = {name: generator.standard_normal(shape, np.float32) for name, _, shape in values}
    (expected,) = ReferenceEvaluator(str(path), new_ops=OPERATORS).run(None, inputs)
    (given_,) = expansion.open_on_cpu(path).run(None, inputs)
    np.testing.assert_allclose(given_, np.asarray(expected), atol=2e-5)


@pytest.fixture(scope="module")
def package(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's U-Net in the cuda operator set, in float16."""
    every = exporter.components_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "components_of", lambda opened: {"unet": every(opened)["unet"]})
        return export(checkpoint, tmp_path_factory.mktemp("cuda") / "package", precision="fp16", dialect="cuda")


def test_the_manifest_records_operator_set_size_and_operators(package: Path) -> None:
    manifest = json.loads((package / "triptych.json").read_text())
    assert manifest["dialect"] == "cuda"
    assert manifest["static"] == {"batch": 2, "height": 128, "width": 128}  # the checkpoint's own, with guidance
    unet = manifest["components"]["unet"]
    assert unet["said"]["com.microsoft::NhwcConv"] == unet["operators"]["com.microsoft::NhwcConv"] == 50
    assert 40 < unet["parity"]["db"] < 80
