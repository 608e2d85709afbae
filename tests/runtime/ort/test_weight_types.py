"""Types of a graph's weights are read from its file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.runtime.ort.graph_writer import GraphWriter
from triptych.runtime.ort.weight_types import has_halves


def graph(path: Path, *dtypes: str) -> Path:
    writer = GraphWriter("weights")
    x = writer.input("x", np.dtype(np.float32), [1])
    for dtype in dtypes:
        writer.constant(np.zeros(1000, dtype))
    writer.output(writer.node("Identity", x, name="y"), np.dtype(np.float32), [1])
    path.write_bytes(writer.to_bytes())
    return path


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ((), False),
        (("float32",), False),
        (("float16",), True),
        (("int64", "float32", "int8"), False),
        (("float32", "int64", "float16"), True),
    ],
)
def test_halves_are_found_among_the_weights(tmp_path: Path, dtypes: tuple[str, ...], expected: bool) -> None:
    assert has_halves(graph(tmp_path / "m.onnx", *dtypes)) == expected


def test_weights_beside_the_graph_count_too(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(np.zeros(4096, np.float16), "w")
    value = onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT16, [4096])
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [value], [weight]))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx_data", size_threshold=0)
    assert (tmp_path / "m.onnx_data").stat().st_size == 8192
    assert has_halves(tmp_path / "m.onnx")


@given(content=st.binary(max_size=200), cut=st.integers(0, 100))
def test_a_file_that_is_not_onnx_is_no_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("files")
    (folder / "m.onnx").write_bytes(content)
    has_halves(folder / "m.onnx")
    whole = graph(folder / "w.onnx", "float16")
    whole.write_bytes(whole.read_bytes()[:cut])
    has_halves(whole)
    assert not has_halves(folder / "missing.onnx")
