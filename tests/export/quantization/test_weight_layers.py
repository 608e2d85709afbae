"""Weights in 8 and 4 bits: what is stored, and that layers compute with nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.numpy_helper import from_array
from torch import nn

from triptych.export.components import Component, Input
from triptych.export.dialects import declared_operators
from triptych.export.graph import count_operators, save, to_onnx
from triptych.export.precision import PRECISIONS
from triptych.export.quantization.affine import quantize_blocks
from triptych.export.quantization.weight_layers import ByteWeight, NBitsLinear, NibbleWeight, StoredEmbedding
from triptych.export.quantization.weight_operators import pack, unpack
from triptych.export.quantization.weights import LINEAR, quantize_weights

BITS = st.sampled_from([4, 8])


@given(bits=BITS, size=st.sampled_from([16, 32]), seed=st.integers(0, 100), factor=st.floats(1e-6, 1e6))
def test_blocks_are_rounded_to_a_step(bits: int, size: int, seed: int, factor: float) -> None:
    weight = factor * torch.randn(3, 2 * size, generator=torch.Generator().manual_seed(seed))
    weight[1, :size] = 0
    integers, scale = quantize_blocks(weight, bits, size)
    assert (integers.dtype, integers.shape, scale.shape) == (torch.int8, (3, 2, size), (3, 2))
    assert -(2 ** (bits - 1)) <= int(integers.min()) < int(integers.max()) < 2 ** (bits - 1)
    error = (integers * scale[..., None]).flatten(1) - weight
    largest = weight.unflatten(1, (2, size)).abs().amax(2)
    # half a step, and a whole one where the other end is as far from zero as the largest
    assert (error.abs().unflatten(1, (2, size)).amax(2) <= largest / 2 ** (bits - 1) * 1.0001).all()
    assert not error[1, :size].any()


@given(bits=BITS, seed=st.integers(0, 100))
def test_packed_integers_are_unpacked(bits: int, seed: int) -> None:
    limit = 2 ** (bits - 1)
    integers = torch.randint(-limit, limit, (3, 2, 16), generator=torch.Generator().manual_seed(seed)).to(torch.int8)
    packed = pack(integers, bits)
    assert (packed.dtype, packed.shape) == (torch.uint8, (3, 2, 2 * bits))
    assert torch.equal(unpack(packed, bits), integers.to(torch.int16))


@settings(deadline=None)
@given(
    bits=BITS,
    size=st.sampled_from([16, 32, 64]),
    rows=st.integers(1, 70),
    inputs=st.integers(1, 150),
    outputs=st.integers(1, 70),
    bias=st.booleans(),
)
def test_the_kernel_reads_packed_weights_as_pytorch_does(
    bits: int, size: int, rows: int, inputs: int, outputs: int, bias: bool
) -> None:
    linear = nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)
    layer = NBitsLinear(linear, bits, size)
    x = torch.randn(rows, inputs)
    names = ["x", "packed", "scale", "", "", "bias"] if bias else ["x", "packed", "scale"]
    attributes: dict[str, Any] = {"K": inputs, "N": outputs, "bits": bits, "block_size": size}
    node = helper.make_node("MatMulNBits", names, ["y"], domain="com.microsoft", **attributes)
    stored = {"packed": layer.packed, "scale": layer.scale} | ({"bias": linear.bias} if bias else {})
    (exact,) = run_node(node, {name: tensor.numpy() for name, tensor in stored.items()}, x.numpy(), outputs)
    np.testing.assert_allclose(exact, layer(x).numpy(), atol=1e-4)


def run_node(node: onnx.NodeProto, stored: dict[str, np.ndarray], x: np.ndarray, outputs: int) -> list[np.ndarray]:
    given, answered = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [len(x), width])
        for name, width in (("x", x.shape[1]), ("y", outputs))
    )
    initializers = [from_array(array, name) for name, array in stored.items()]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "product", [given], [answered], initializers)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return list(ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x}))


def test_embeddings_are_rounded_by_row() -> None:
    embedding = nn.Embedding(9, 12).requires_grad_(False)
    embedding.weight.mul_(torch.logspace(-3, 3, 9)[:, None])
    ids = torch.tensor([[0, 8, 3], [3, 1, 7]])
    outputs, exact = StoredEmbedding(embedding)(ids), embedding(ids)
    assert ((outputs - exact).abs() <= exact.abs().amax(-1, keepdim=True) / 254 * 1.0001).all()


class Layers(nn.Module):
    """Two convolutions on an image [n, 64, h, w], and linear layers on its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.narrow = nn.Conv2d(64, 40, 3, padding=1), nn.Conv2d(40, 48, 1, stride=2, bias=False)
        self.linear, self.last = nn.Linear(48, 64), nn.Linear(64, 33, bias=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pixels = self.narrow(torch.tanh(self.conv(x))).flatten(2).transpose(1, 2)
        return (self.last(torch.tanh(self.linear(pixels))),)


@pytest.mark.parametrize("precision", ["w8", "w4"])
@pytest.mark.parametrize("dialect", LINEAR)
def test_layers_compute_in_the_graph_what_they_compute_in_pytorch(dialect: str, precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    exact, rounded = (Layers().requires_grad_(False).eval() for _ in range(2))
    rounded.load_state_dict(exact.state_dict())
    weights = PRECISIONS[precision].weights
    assert weights is not None
    quantize_weights(rounded, weights, dialect)
    kinds = [type(layer) for layer in rounded.modules() if isinstance(layer, ByteWeight | NibbleWeight | NBitsLinear)]
    narrow, wide = ByteWeight, ByteWeight if precision == "w8" else NibbleWeight  # 40 and 48 are no whole blocks of 32
    assert kinds == [wide, narrow, *([NBitsLinear] * 2 if dialect == "cpu" else [narrow, wide])]

    shape = ("batch_size", 64, "height", "width")
    cases = [{"batch_size": n, "height": 6, "width": 8} for n in (1, 2)]
    inputs = {"x": Input(shape, lambda generator, drawn: generator.standard_normal(drawn).astype(np.float32))}
    component = Component(
        "layers", {}, rounded, rounded, inputs, {"y": ("batch_size", "pixels", 33)}, cases[0], tuple(cases)
    )
    model = to_onnx(component, torch.float32)
    (path,) = save(model, tmp_path)
    counts = count_operators(path)
    assert declared_operators(component) == {name: counts[name] for name in declared_operators(component)}
    assert sum(declared_operators(component).values()) == 4

    x = torch.from_numpy(component.draw(cases[1], 0)["x"])
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"x": x.numpy()})
    floor, noise = (45, 25) if precision == "w8" else (30, 10)
    assert floor - 20 < decibels(output, rounded(x)[0]), "the kernel rounds its inputs"
    assert noise < decibels(output, exact(x)[0]) < 60
    assert not large_floats(path)


def large_floats(path: Path) -> list[str]:
    """Weights in float that ought to be integers."""
    weights = onnx.load(path).graph.initializer
    return [each.name for each in weights if each.data_type == onnx.TensorProto.FLOAT and np.prod(each.dims) > 1_000]


def decibels(given: np.ndarray, expected: torch.Tensor) -> float:
    return float(10 * np.log10(np.sum(expected.numpy() ** 2) / np.sum((given - expected.numpy()) ** 2)))
