"""Whether this processor's 8-bit products saturate: x86 kernels without VNNI add them in pairs, in 16 bits."""

from functools import cache

import numpy as np

from .graph_writer import GraphWriter
from .library import ort

PAIR_LIMIT = 32_767
"""Largest sum of two products that every kernel computes exactly (`vpmaddubsw` saturates there)."""


@cache
def saturates() -> bool:
    """Whether ONNX Runtime's CPU kernels for uint8 times int8 saturate here, tried on one sum of two products."""
    graph = GraphWriter("saturation")
    a = graph.input("a", np.dtype(np.uint8), [1, 2])
    b = graph.input("b", np.dtype(np.int8), [2, 1])
    graph.output(graph.node("MatMulInteger", a, b, name="y"), np.dtype(np.int32), [1, 1])
    session = ort.InferenceSession(graph.to_bytes(), providers=["CPUExecutionProvider"])
    largest = {"a": np.full((1, 2), 255, np.uint8), "b": np.full((2, 1), 127, np.int8)}
    return int(session.run(None, largest)[0].item()) != 2 * 255 * 127
