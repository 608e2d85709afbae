"""Rate of a large matrix product through the provider that runs the package."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from triptych.runtime.ort.device import Device
from triptych.runtime.ort.providers import CPU
from triptych.runtime.ort.session import Graph

from .measure import time_calls
from .result import MatrixProduct

_OPSET, _IR_VERSION = 20, 10
# Rows, and products in a chain: enough to fill the processor, and on a device to outweigh the call itself.
_ON_CPU, _ON_DEVICE = (2048, 4), (4096, 64)
_SECONDS = 3.0


def measure_matrix_product(device: Device, dtype: np.dtype) -> MatrixProduct:
    """Measure a chain of products with one matrix; the fastest of several calls counts.

    The right-hand matrix is a constant, as weights are, so that a provider may choose its layout. Only a scalar
    goes in and comes out: nothing is copied to or from a device.
    """
    size, chain = _ON_CPU if device.provider == CPU else _ON_DEVICE
    with tempfile.TemporaryDirectory() as folder:
        graph = Graph(_write(Path(folder) / "model.onnx", size, chain, dtype), device, "matrix product")
    one = {"scale": np.ones((1, 1), dtype)}
    latency = time_calls(lambda: graph(one), seconds=_SECONDS)
    return MatrixProduct(size, dtype.name, product_flops(size, chain) / latency.best_seconds)


def product_flops(size: int, chain: int) -> int:
    """Additions and multiplications in `chain` products of square matrices."""
    return 2 * size**3 * chain


def _write(path: Path, size: int, chain: int, dtype: np.dtype) -> Path:
    """mean(scale * X @ W @ W ...), W scaled so that magnitudes stay as they are."""
    generator = np.random.default_rng(0)
    left, weight = (generator.standard_normal((size, size), np.float32) for _ in range(2))
    constants = {"X": left, "W": weight / np.float32(size**0.5)}
    nodes = [helper.make_node("Mul", ["X", "scale"], ["product_0"])]
    nodes += [helper.make_node("MatMul", [f"product_{i}", "W"], [f"product_{i + 1}"]) for i in range(chain)]
    nodes.append(helper.make_node("ReduceMean", [f"product_{chain}"], ["mean"], keepdims=1))
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    graph = helper.make_graph(
        nodes,
        "matrix_product",
        [helper.make_tensor_value_info("scale", kind, [1, 1])],
        [helper.make_tensor_value_info("mean", kind, [1, 1])],
        [numpy_helper.from_array(array.astype(dtype), name) for name, array in constants.items()],
    )
    opset = helper.make_opsetid("", _OPSET)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION), path)
    return path
