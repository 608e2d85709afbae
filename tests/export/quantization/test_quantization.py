"""Int8 layers: their operators, outputs and ranges, and the layers that stay in float."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from triptych.export.graph import OPSET, count_operators
from triptych.export.quantization.affine import MULTIPLIED_LIMIT, STORED_LIMIT, Affine, quantize_weight
from triptych.export.quantization.clipping import Histogram
from triptych.export.quantization.layers import QuantizedLinear
from triptych.export.quantization.operators import TRANSLATIONS, dequantized
from triptych.export.quantization.plan import LAYERS, Plan, quantize, quantized
from triptych.export.quantization.ranges import Ranges, observed_ranges, quantizable
from triptych.export.quantization.sensitivity import Sensitivity, float_layers, measure

LAYERS_IN_FLOAT = {
    "plain": nn.Conv2d(5, 7, 3, padding=1),
    "pointwise": nn.Conv2d(5, 7, 1),
    "strided, no bias": nn.Conv2d(5, 7, 3, stride=2, padding=(1, 0), bias=False),
    "dilated": nn.Conv2d(5, 7, 3, padding=2, dilation=2),
    "linear": nn.Linear(5, 7),
    "linear, no bias": nn.Linear(5, 7, bias=False),
}


class Alongside(nn.Module):
    """Layers that all take an image [n, 5, h, w], or its pixels [n, h * w, 5]."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers).requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer(given_to(layer, x)) for layer in self.layers)


def given_to(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2) if isinstance(layer, nn.Linear | QuantizedLinear) else x


def ranges_of(layer: nn.Module, x: torch.Tensor) -> Ranges:
    found = Ranges()
    with torch.no_grad():
        found.widen(given_to(layer, x), layer(given_to(layer, x)))
    return found


@settings(deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_ranges_hold_zero_exactly_and_everything_else_to_a_step(first: float, second: float) -> None:
    low, high = min(first, second), max(first, second)
    affine = Affine.covering(low, high)
    assert 0 <= affine.zero_point <= 255
    values = torch.linspace(low, high, 1000, dtype=torch.float64)
    assert float((affine.rounded(values) - values).abs().max()) <= affine.scale * (1 + 1e-6)
    assert float(affine.rounded(torch.zeros(1))) == 0


@pytest.mark.parametrize("limit", [MULTIPLIED_LIMIT, STORED_LIMIT])
def test_weights_are_rounded_by_channel(limit: int) -> None:
    weight = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 2, 6).view(
        6, 1, 1, 1
    )
    weight[3] = 0
    integers, scale = quantize_weight(weight, limit)
    assert (integers.dtype, integers.shape, scale.shape) == (torch.int8, weight.shape, (6,))
    assert int(integers.abs().max()) == limit
    error = (dequantized(integers, scale, torch.zeros(6, dtype=torch.int8), 0) - weight).abs().amax((1, 2, 3))
    assert (error <= scale / 2 * 1.0001).all()
    assert not error[3]


@settings(deadline=None, max_examples=50)
@given(st.floats(0.1, 10), st.floats(-3, 3), st.floats(0.01, 1000), st.integers(0, 2**32 - 1))
def test_clipped_ranges_lose_no_more_than_whole_ones(width: float, centre: float, outlier: float, seed: int) -> None:
    values = torch.randn(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * width + centre
    values[0] = outlier
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    histogram = Histogram(low, high)
    histogram.add(values)
    clipped = histogram.clipped()
    assert low <= clipped[0] <= 0 <= clipped[1] <= high

    def lost(ends: tuple[float, float]) -> float:
        return float((Affine.covering(*ends).rounded(values) - values).square().sum())

    assert lost(clipped) <= lost((low, high)) * 1.05  # the histogram knows a value to a part of 2048


@pytest.mark.parametrize("dialect", LAYERS)
def test_layers_compute_in_the_graph_what_they_compute_in_pytorch(dialect: str, tmp_path: Path) -> None:
    x = torch.randn(2, 5, 12, 9, generator=torch.Generator().manual_seed(0)) + 0.5
    plain = Alongside(LAYERS_IN_FLOAT.values())
    ranges = [ranges_of(layer, x) for layer in plain.layers]
    rounded = Alongside(quantized(layer, own, dialect) for layer, own in zip(plain.layers, ranges, strict=True))
    path = tmp_path / "layers.onnx"
    axes = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        rounded,
        (x,),
        path,
        dynamo=True,
        dynamic_shapes=(axes,),
        custom_translation_table=TRANSLATIONS,
        opset_version=OPSET,
    )
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: x.numpy()})

    for layer, own, output, same, exact in zip(plain.layers, ranges, outputs, rounded(x), plain(x), strict=True):
        difference = np.abs(output - same.numpy())
        # sums that lie between two steps may be rounded to either
        assert difference.max() <= own.outputs.scale * 1.001
        assert (difference > own.outputs.scale / 2).mean() < 0.01
        noise = ((torch.from_numpy(output) - exact) ** 2).mean() / (exact**2).mean()
        assert 25 < -10 * torch.log10(noise) < 60, layer
    counts, convolutions, products = count_operators(path), 4, 2
    if dialect == "cpu":
        assert counts["QLinearConv"] == convolutions
        assert counts["com.microsoft::DynamicQuantizeMatMul"] == products
    else:
        assert (counts["Conv"], counts["MatMul"]) == (convolutions, products)
        assert counts["QuantizeLinear"] == 1 + 1 + convolutions  # the image, its pixels, each convolution's output
        assert not [name for name in counts if "::" in name]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 8, 3, padding=1), nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 4, 1)).requires_grad_(
        False
    )


def test_what_can_be_quantised_is_observed_in_every_call() -> None:
    net = network()
    assert list(quantizable(net)) == ["0", "2", "4", "6"]  # 5 has groups
    calls = [torch.full((1, 4, 6, 6), value) for value in (0.25, -3.0, 2.0)]
    with observed_ranges(net) as ranges:
        for x in calls:
            net(x)
    assert (ranges["0"].input_low, ranges["0"].input_high) == (-3.0, 2.0)
    assert ranges["0"].output_high == max(float(net[0](x).max()) for x in calls)
    net(torch.full((1, 4, 6, 6), 100.0))
    assert ranges["0"].input_high == 2.0


def test_noise_by_backpropagation_is_the_noise_of_rounding_one_layer() -> None:
    net = network()
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with observed_ranges(net) as ranges:
        exact = net(x)
    layers = quantizable(net)
    inputs = [(x,)] * 50  # as many draws of probes

    rounded = {name: quantized(layer, ranges[name], "cpu") for name, layer in layers.items()}
    found = measure(nn.Sequential(net, Tuple()), layers, rounded, inputs)
    assert found["0"].macs == 50 * 8 * 8 * 8 * 4 * 9
    for name in layers:
        trial = nn.Sequential(*net)
        trial[int(name)] = rounded[name]
        tried = float(((trial(x) - exact) ** 2).sum())
        assert found[name].noise / 50 == pytest.approx(tried, rel=0.35)  # 200 probes know it to 10%, 35% is 3.5 sigma


class Tuple(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (x,)


def test_float_is_spent_where_it_does_most_good() -> None:
    found = {
        "first": Sensitivity(noise=5, macs=1),
        "large": Sensitivity(noise=50, macs=90),
        "small": Sensitivity(noise=1, macs=2),
        "quiet": Sensitivity(noise=0.1, macs=7),
    }
    assert float_layers(found, share=0.0) == frozenset()
    assert float_layers(found, share=0.02) == {"first"}
    assert float_layers(found, share=0.5) == {"first"}  # "large" is next, and does not fit
    assert float_layers(found, share=1.0) == found.keys()


def test_layers_kept_in_float_are_left_as_they_are() -> None:
    net = network()
    with observed_ranges(net) as ranges:
        net(torch.ones(1, 4, 8, 8))
    quantize(net, Plan(ranges, frozenset({"0"})), "cpu")
    assert [type(layer).__name__ for layer in net] == [
        "Conv2d", "SiLU", "QLinearConv", "SiLU", "QLinearConv", "Conv2d", "QLinearConv",
    ]  # fmt: skip
