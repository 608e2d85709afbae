from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.graphs import Value, write_adder, write_graph
from triptych.runtime.errors import ArgumentError, PackageError, PerformanceWarning, ProviderError
from triptych.runtime.ort.cuda import Traits
from triptych.runtime.ort.device import Device, open_device
from triptych.runtime.ort.session import Graph

X = np.arange(15, dtype=np.float64).reshape(5, 3)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32])
@pytest.mark.parametrize("timestep", [(), (1,), ("steps",)])
def test_arrays_are_cast_and_timesteps_get_the_rank_of_the_graph(tmp_path: Path, kind: int, timestep: tuple) -> None:
    graph = Graph(write_adder(tmp_path / "m.onnx", timestep=timestep, kind=kind), open_device("cpu"), "unet")
    (y,) = graph({"x": X, "timestep": np.asarray(7)}).values()
    assert y.dtype == helper.tensor_dtype_to_np_dtype(kind)
    np.testing.assert_array_equal(y, X + 7)


def test_a_timestep_with_a_batch_axis_is_repeated(tmp_path: Path) -> None:
    path = write_graph(
        tmp_path / "m.onnx",
        [helper.make_node("Identity", ["timestep"], ["t"]), helper.make_node("Identity", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["batch", 3]), ("timestep", TensorProto.FLOAT, ["batch"])],
        [("t", TensorProto.FLOAT, ["batch"]), ("y", TensorProto.FLOAT, ["batch", 3])],
    )
    out = Graph(path, open_device("cpu"), "unet")({"x": X, "timestep": np.asarray(7.5)})
    np.testing.assert_array_equal(out["t"], np.full(5, 7.5))


@pytest.mark.parametrize("batch", [1, 2, 5, 7])
def test_a_fixed_batch_runs_in_pieces(tmp_path: Path, batch: int) -> None:
    graph = Graph(write_adder(tmp_path / "m.onnx", batch=batch), open_device("cpu"), "unet")
    np.testing.assert_array_equal(graph({"x": X, "timestep": np.asarray(0.5)})["y"], X + 0.5)


@pytest.mark.parametrize("arena", ["0", "1"])
def test_memory_can_be_released_whatever_the_arena(tmp_path: Path, arena: str) -> None:
    device = open_device("cpu", session_options={"enable_cpu_mem_arena": arena})
    graph = Graph(write_adder(tmp_path / "m.onnx"), device, "unet")
    np.testing.assert_array_equal(graph({"x": X, "timestep": np.asarray(1)}, release=True)["y"], X + 1)


def test_a_row_is_the_same_to_the_bit_alone_and_in_a_batch(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = np.random.default_rng(0).standard_normal((300, 200)).astype(np.float32)
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weights))
    inputs: list[Value] = [("x", TensorProto.FLOAT, ["batch", 300])]
    path = write_graph(tmp_path / "m.onnx", [constant, node], inputs, [("y", TensorProto.FLOAT, ["batch", 200])])
    graph = Graph(path, open_device("cpu"), "unet")
    x = np.random.default_rng(1).standard_normal((7, 300))
    np.testing.assert_array_equal(graph({"x": x})["y"][4:5], graph({"x": x[4:5]})["y"])


def test_a_wrong_shape_is_named(tmp_path: Path) -> None:
    graph = Graph(write_adder(tmp_path / "m.onnx"), open_device("cpu"), "unet")
    with pytest.raises(ArgumentError, match=r"unet takes x of shape \[batch, 3\], not \[1, 4\]"):
        graph({"x": np.zeros((5, 4)), "timestep": np.asarray(1)})


def test_a_graph_that_fails_while_running_is_named_with_its_shapes(tmp_path: Path) -> None:
    node = helper.make_node("Concat", ["x", "timestep"], ["y"], axis=0)
    axes = [("x", TensorProto.FLOAT, ["b", "w"]), ("timestep", TensorProto.FLOAT, ["c", "v"])]
    path = write_graph(tmp_path / "m.onnx", [node], axes, [("y", TensorProto.FLOAT, ["b", "u"])])
    with pytest.raises(ArgumentError, match=r"decoder cannot run with x \[1, 3\], timestep \[1, 4\]"):
        Graph(path, open_device("cpu"), "decoder")({"x": np.zeros((2, 3)), "timestep": np.zeros((2, 4))})


def test_a_device_out_of_memory_is_an_error_of_the_device(tmp_path: Path) -> None:
    """2 EiB: more than an address space has."""
    shape = helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([2**30, 2**29])))
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    inputs: list[Value] = [("x", TensorProto.FLOAT, [1, 1])]
    path = write_graph(tmp_path / "m.onnx", [shape, node], inputs, [("y", TensorProto.FLOAT, None)])
    graph = Graph(path, open_device("cpu"), "decoder")
    with pytest.raises(ProviderError, match=r"decoder failed on its device: .*; a smaller size"):
        graph({"x": np.ones((1, 1))})


@pytest.mark.parametrize("content", [b"", b"not protobuf at all", None])
def test_a_broken_file_is_a_package_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(write_adder(tmp_path / "whole.onnx").read_bytes()[:-20] if content is None else content)
    with pytest.raises(PackageError, match=r"m\.onnx cannot be loaded by ONNX Runtime: .+") as caught:
        Graph(path, open_device("cpu"), "unet")
    assert "\n" not in str(caught.value)


def test_another_provider_than_the_one_asked_for_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime falls back to the CPU and only logs it when a provider's library cannot be loaded."""
    device = Device("cuda", (("CUDAExecutionProvider", {}), ("CPUExecutionProvider", {})))
    with pytest.raises((ProviderError, PackageError)):
        Graph(write_adder(tmp_path / "m.onnx"), device, "unet")


class Picky(Device):
    """A CUDA device, computing on the CPU, on which nothing can be captured."""

    @property
    def on_cuda(self) -> bool:
        return True

    def session_providers(self, traits: Traits) -> list[tuple[str, dict[str, Any]]]:
        if traits.capture:
            raise RuntimeError("no graph capture: not all nodes are on the device")
        return [("CPUExecutionProvider", {})]


def test_a_graph_that_cannot_be_captured_runs_all_the_same_and_says_so(tmp_path: Path) -> None:
    device, capture = Picky("cpu", (("CPUExecutionProvider", {}),)), Traits(capture=True)
    path = write_adder(tmp_path / "m.onnx", batch=5)
    with pytest.warns(PerformanceWarning, match="unet runs without a CUDA graph: no graph capture"):
        graph = Graph(path, device, "unet", traits=capture)
    np.testing.assert_array_equal(graph({"x": X, "timestep": np.asarray(1)})["y"], X + 1)
    Graph(path, device, "unet")
    with pytest.raises(PackageError, match="cannot be loaded"):
        Graph(tmp_path / "none.onnx", device, "unet", traits=capture)
