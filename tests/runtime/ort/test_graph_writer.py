"""What the writer encodes, as the onnx package reads it."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from triptych.runtime.ort.graph_writer import OPSET, GraphWriter

FLOAT = np.dtype(np.float32)


def read(graph: GraphWriter) -> onnx.ModelProto:
    model = onnx.load_from_string(graph.to_bytes())
    onnx.checker.check_model(model, full_check=True)
    return model


def test_a_graph_is_read_as_it_was_said() -> None:
    graph = GraphWriter("small")
    x = graph.input("x", FLOAT, [300, 2])  # 300 takes two bytes
    graph.nodes("Split", [x], ["left", "right"], axis=-1)
    mean = graph.node("ReduceMean", "left", axes=[0, 1], keepdims=1)
    graph.output(graph.node("LeakyRelu", graph.node("Mul", mean, "right"), name="y", alpha=0.25), FLOAT, [300, 1])
    model = read(graph)
    assert model.graph.name == "small"
    assert [entry.version for entry in model.opset_import] == [OPSET]
    split, reduce, _, relu = model.graph.node
    assert (split.op_type, list(split.input), list(split.output)) == ("Split", ["x"], ["left", "right"])
    assert split.attribute[0].i == -1
    assert {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in reduce.attribute} == {
        "axes": [0, 1],
        "keepdims": 1,
    }
    assert relu.attribute[0].f == 0.25
    assert [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim] == [300, 2]


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_constants_are_read_as_they_were(dtype: str, shape: tuple[int, ...]) -> None:
    value = (np.arange(np.prod(shape, dtype=int)).reshape(shape) - 2).astype(dtype)
    graph = GraphWriter("constant")
    graph.output(graph.node("Identity", graph.constant(value), name="y"), value.dtype, shape)
    (stored,) = read(graph).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(stored), value)
    assert numpy_helper.to_array(stored).dtype == value.dtype


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**40))
def test_integers_of_any_length(number: int, size: int) -> None:
    graph = GraphWriter("numbers")
    graph.node("Anything", graph.input("x", FLOAT, [size]), number=number)
    model = onnx.load_from_string(graph.to_bytes())
    assert model.graph.node[0].attribute[0].i == number
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == size


def test_onnx_runtime_runs_it() -> None:
    graph = GraphWriter("sum")
    x = graph.input("x", FLOAT, [3])
    graph.output(graph.node("Add", x, graph.constant(np.array([1, 2, 3], FLOAT)), name="y"), FLOAT, [3])
    session = ort.InferenceSession(graph.to_bytes(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.ones(3, FLOAT)})
    np.testing.assert_array_equal(y, [2, 3, 4])
