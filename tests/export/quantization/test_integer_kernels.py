"""Integer kernels at the ends of their ranges, against numpy's integers, on this processor and on lesser ones.

Without VNNI, x86 kernels add pairs of products in 16 bits. Weights of 8 bits saturated there: 2 * 255 * 127 is twice
what 16 bits hold, and images of the demo model were 24 dB from PyTorch's where they are 36 dB elsewhere.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from tests.processors import PROCESSORS, environment_of, host_flags
from triptych.export.graph import OPSET
from triptych.export.quantization import operators, weight_operators
from triptych.export.quantization.affine import LEVELS, MULTIPLIED_LIMIT
from triptych.export.quantization.layers import QuantizedConv, QuantizedLinear
from triptych.export.quantization.plan import LAYERS, quantized
from triptych.export.quantization.ranges import Ranges
from triptych.export.quantization.weight_layers import NBitsLinear
from triptych.runtime.ort.saturation import saturates

LOW, HIGH = -1.0, 2.0
"""The range of the inputs, all of which are at one of its ends: uint8 0 or 255."""
CHANNELS, SIZE, TOKENS = 64, 9, 5
CONVOLUTIONS = {
    "3x3": nn.Conv2d(CHANNELS, 32, 3, padding=1),
    "1x1": nn.Conv2d(CHANNELS, 32, 1),
    "strided": nn.Conv2d(CHANNELS, 24, 3, stride=2, padding=1, bias=False),
    "dilated": nn.Conv2d(CHANNELS, 24, 3, padding=2, dilation=2),
    "odd": nn.Conv2d(CHANNELS, 7, 3, padding=1),
}
LINEAR = {"linear": nn.Linear(CHANNELS, 32), "linear, no bias": nn.Linear(CHANNELS, 33, bias=False)}
RUN_GRAPHS = Path(__file__).with_name("run_graphs.py")


class Alongside(nn.Module):
    """Layers that are all given the same input."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers).requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer(x) for layer in self.layers)


def at_its_ends(shape: tuple[int, ...]) -> torch.Tensor:
    """LOW or HIGH everywhere; the first half of the rows is HIGH throughout, so that all products have one sign."""
    x = torch.where(torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5, LOW, HIGH)
    x[: len(x) // 2] = HIGH
    return x


def with_weights_at_their_ends(layer: nn.Module) -> nn.Module:
    """The layer, every weight of it the largest or the least; in the first half of the outputs all are the largest."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    signs = torch.where(torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(1)) < 0.5, -1.0, 1.0)
    signs[: len(signs) // 2] = 1
    layer.weight.data = signs / 100
    return layer


def ranges_of(layer: nn.Module, x: torch.Tensor) -> Ranges:
    found = Ranges()
    with torch.no_grad():
        found.widen(x, layer(x))
    return found


def layers_and_inputs() -> dict[str, tuple[list[nn.Module], torch.Tensor]]:
    """Name of a graph -> its quantised layers, and what they are given."""
    image, tokens = at_its_ends((4, CHANNELS, SIZE, SIZE)), at_its_ends((4, TOKENS, CHANNELS))
    graphs: dict[str, tuple[list[nn.Module], torch.Tensor]] = {}
    for dialect in LAYERS:
        for kind, layers, x in (("conv", CONVOLUTIONS, image), ("linear", LINEAR, tokens)):
            whole = [with_weights_at_their_ends(layer) for layer in layers.values()]
            graphs[f"{dialect}-{kind}"] = [quantized(each, ranges_of(each, x), dialect) for each in whole], x
    for bits in (8, 4):
        whole = [with_weights_at_their_ends(layer) for layer in LINEAR.values()]
        stored: list[nn.Module] = [NBitsLinear(each, bits, 32) for each in whole if isinstance(each, nn.Linear)]
        graphs[f"stored{bits}"] = stored, tokens.clamp(-HIGH) * torch.where(tokens < 0, HIGH / -LOW, 1.0)
    return graphs


GRAPHS = layers_and_inputs()


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of graphs and their inputs, as run_graphs.py takes it."""
    folder = tmp_path_factory.mktemp("graphs")
    for name, (layers, x) in GRAPHS.items():
        np.save(folder / f"{name}-x.npy", x.numpy())
        torch.onnx.export(
            Alongside(layers),
            (x,),
            folder / f"{name}.onnx",
            dynamo=True,
            custom_translation_table={**operators.TRANSLATIONS, **weight_operators.TRANSLATIONS},
            opset_version=OPSET,
        )
    return folder


@pytest.mark.parametrize("processor", ["here", *PROCESSORS])
def test_kernels_compute_what_the_graph_states(
    processor: str, graphs: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = None if processor == "here" else environment_of(processor, tmp_path_factory)
    subprocess.run([sys.executable, RUN_GRAPHS, graphs, tmp_path], check=True, env=environment)
    for name, (layers, x) in GRAPHS.items():
        for index, layer in enumerate(layers):
            output = np.load(tmp_path / f"{name}-{index}.npy")
            steps = np.abs(output - expected(layer, x)) / step_of(layer, output)
            # a sum between two steps may be rounded to either; saturated, outputs are off by tens of steps
            assert steps.max() < 1.001, (name, index)
            assert (steps > 0.5).mean() < 0.05, (name, index)


def expected(layer: nn.Module, x: torch.Tensor) -> np.ndarray:
    """The layer's output by integer arithmetic in numpy."""
    integers = np.where(x.numpy() > 0, LEVELS, 0).astype(np.int64)
    if isinstance(layer, NBitsLinear):
        return stored_linear(layer, x)
    zero = round(-LOW / ((HIGH - LOW) / LEVELS))
    unit = np.float64((HIGH - LOW) / LEVELS)
    if isinstance(layer, QuantizedConv):
        weight = layer.weight.numpy().astype(np.int64)
        assert np.abs(weight).min() == np.abs(weight).max() == MULTIPLIED_LIMIT
        sums = convolution(integers - zero, weight, layer) + layer.bias.numpy().astype(np.int64)[:, None, None]
        scaled = sums * unit * layer.weight_scale.numpy().astype(np.float64)[:, None, None]
        rounded: np.ndarray = layer.output_rounding(torch.from_numpy(scaled)).numpy()
        return rounded
    assert isinstance(layer, QuantizedLinear)
    weight = layer.weight.numpy().astype(np.int64)
    assert np.abs(weight).min() == np.abs(weight).max() == MULTIPLIED_LIMIT
    y: np.ndarray = (integers - zero) @ weight * unit * layer.weight_scale.numpy().astype(np.float64)
    return y if layer.bias is None else y + layer.bias.numpy()


def convolution(x: np.ndarray, weight: np.ndarray, layer: QuantizedConv) -> np.ndarray:
    """Integers [n, C, h, w] and [K, C, kh, kw] -> [n, K, h', w']."""
    (top, left), (down, right), (spread, _) = layer.padding, layer.stride, layer.dilation
    reach = spread * (weight.shape[2] - 1) + 1
    padded = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    windows = sliding_window_view(padded, (reach, reach), (2, 3))[:, :, ::down, ::right, ::spread, ::spread]
    sums: np.ndarray = np.einsum("nchwij,kcij->nkhw", windows, weight, optimize=True)
    return sums


def stored_linear(layer: NBitsLinear, x: torch.Tensor) -> np.ndarray:
    """By integers of the weight, unpacked by hand, and of inputs that are all at plus or minus 127."""
    packed, bits = layer.packed.numpy(), layer.bits
    fields = np.stack([packed >> shift & 2**bits - 1 for shift in range(0, 8, bits)], -1)
    integers = fields.reshape(*packed.shape[:2], -1).astype(np.int64) - 2 ** (bits - 1)
    assert integers.min() == -(2 ** (bits - 1))
    assert integers.max() == 2 ** (bits - 1) - 1
    weight = (integers * layer.scale.numpy().astype(np.float64)[..., None]).reshape(len(packed), -1)
    y: np.ndarray = x.numpy().astype(np.float64) @ weight.T
    if layer.bias is not None:
        y += layer.bias.detach().numpy()
    return y


def step_of(layer: nn.Module, output: np.ndarray) -> float:
    """Tolerance of an output: a step of its own eight bits, or the rounding of float32 where it is in float."""
    if isinstance(layer, QuantizedConv):
        return float(layer.output_rounding.scale)
    return 1e-5 * float(np.abs(output).max())


def test_processors_without_dot_products_of_bytes_are_found_out() -> None:
    flags = host_flags()
    if "avx2" not in flags:
        pytest.skip("not an x86 processor with AVX2")
    assert saturates() == (not flags & {"avx512_vnni", "avx_vnni"})


@pytest.mark.parametrize("processor", PROCESSORS)
def test_they_are_found_out_where_this_one_stands_in_for_them(
    processor: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = environment_of(processor, tmp_path_factory)
    program = "from triptych.runtime.ort.saturation import saturates; print(saturates())"
    printed = subprocess.run(
        [sys.executable, "-c", program], check=True, env=environment, capture_output=True, text=True
    )
    assert printed.stdout.strip() == "True"
