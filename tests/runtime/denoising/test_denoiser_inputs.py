"""A denoiser in parts: what they compute once is the same as computed at every call."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.support.graphs import write_graph
from triptych.runtime.denoising.bound_denoiser import BoundDenoiser
from triptych.runtime.denoising.device_loop import BoundLoop
from triptych.runtime.denoising.guidance import Guidance
from triptych.runtime.errors import PackageError
from triptych.runtime.families.conditioning import POOLED, TEXT
from triptych.runtime.families.parts import SHIFTS, DividedGraph, shift_shapes, shifts_of
from triptych.runtime.ort.session import Graph

from .test_device_loop import CPU, EQUAL, GUIDANCE, SIZE, TOKENS, compare, given, sampler

FLOAT = TensorProto.FLOAT
ROWS = 2
POOLED_WIDTH = 3
CHANNELS = SIZE[0]


def write_divided(folder: Path, *, pooled: bool) -> DividedGraph:
    """A denoiser of two blocks: latents * (mean(key) + mean(value)) * shift 0 + tanh(latents) * shift 1 / 10.

    Its shifts are of each row and channel, and of each row; with `pooled` they depend on `POOLED` of the row, too.
    """
    pair = [ROWS, *TOKENS]
    make = helper.make_node
    write_graph(
        folder / "text.onnx",
        [make("Mul", [TEXT, TEXT], ["key_0"]), make("Sqrt", [TEXT], ["value_0"])],
        [(TEXT, FLOAT, pair)],
        [("key_0", FLOAT, pair), ("value_0", FLOAT, pair)],
    )
    width = ROWS * (CHANNELS + 1)
    thousandth = make("Constant", [], ["thousandth"], value_float=0.001)
    nodes = [thousandth, make("Mul", ["timestep", "thousandth"], ["share"])]
    nodes += [make("Constant", [], ["last"], value_ints=[1]), make("Unsqueeze", ["share", "last"], ["column"])]
    if pooled:
        nodes += [
            make("Constant", [], ["axes"], value_ints=[1]),
            make("ReduceMean", [POOLED, "axes"], ["mean"], keepdims=0),
            make("Split", ["mean"], ["row_0", "row_1"], axis=0, num_outputs=ROWS),
            *(make("Mul", ["column", f"row_{row}"], [f"column_{row}"]) for row in range(ROWS)),
        ]
    columns = [f"column_{row}" if pooled else "column" for row in range(ROWS)]
    nodes.append(make("Concat", [each for each in columns for _ in range(CHANNELS)] + columns, [SHIFTS], axis=1))
    micro = [(POOLED, FLOAT, [ROWS, POOLED_WIDTH])] if pooled else []
    write_graph(
        folder / "time.onnx", nodes, [("timestep", FLOAT, ["calls"]), *micro], [(SHIFTS, FLOAT, ["calls", width])]
    )
    latents = [ROWS, *SIZE]
    body = [
        make("Constant", [], ["of_text"], value_ints=[1, 2]),
        make("Constant", [], ["image"], value_ints=[2, 3]),
        make("Constant", [], ["of_row"], value_ints=[1, 2]),
        make("Constant", [], ["tenth"], value_float=0.1),
        make("Add", ["key_0", "value_0"], ["pair"]),
        make("ReduceMean", ["pair", "of_text"], ["weight"]),
        make("Unsqueeze", ["weight", "last"], ["scale"]),
        make("Constant", [], ["last"], value_ints=[3]),
        make("Unsqueeze", ["shift_0", "image"], ["by_channel"]),
        make("Unsqueeze", ["shift_1", "image"], ["by_row"]),
        make("Mul", ["sample", "scale"], ["scaled"]),
        make("Mul", ["scaled", "by_channel"], ["straight"]),
        make("Tanh", ["sample"], ["bent"]),
        make("Mul", ["bent", "by_row"], ["shifted"]),
        make("Mul", ["shifted", "tenth"], ["small"]),
        make("Add", ["straight", "small"], ["out_sample"]),
    ]
    body.insert(0, body.pop(7))
    write_graph(
        folder / "model.onnx",
        body,
        [
            ("sample", FLOAT, latents),
            ("key_0", FLOAT, pair),
            ("value_0", FLOAT, pair),
            ("shift_0", FLOAT, [ROWS, CHANNELS]),
            ("shift_1", FLOAT, [ROWS, 1]),
        ],
        [("out_sample", FLOAT, latents)],
    )
    return DividedGraph(*(Graph(folder / f"{name}.onnx", CPU, "unet") for name in ("model", "text", "time")))


@pytest.fixture(params=[False, True], ids=["time alone", "time and text"])
def graph(request: pytest.FixtureRequest, tmp_path: Path) -> DividedGraph:
    return write_divided(tmp_path, pooled=request.param)


def values(graph: DividedGraph, batch: int) -> dict[str, Any]:
    found = given(batch)
    if POOLED in graph.inputs:
        random = np.random.default_rng(3)
        for conditioning in (found["positive"], found["negative"]):
            conditioning[POOLED] = random.uniform(0.8, 1.2, (batch, POOLED_WIDTH)).astype(np.float32)
    return found


def test_inputs_are_those_of_a_denoiser_of_one_graph(graph: DividedGraph) -> None:
    assert graph.inputs.keys() - {POOLED} == {"sample", "timestep", TEXT}
    assert list(graph.outputs) == ["out_sample"]


def test_parts_that_do_not_fit_are_refused(graph: DividedGraph) -> None:
    with pytest.raises(PackageError, match="unet do not fit: text gives other keys and values"):
        DividedGraph(graph.body, graph.time, graph.time)
    with pytest.raises(PackageError, match="unet do not fit: time does not give the 10 shifts"):
        DividedGraph(graph.body, graph.text, graph.text)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("guidance", ["none", "plain", "interval", "everything"])
@pytest.mark.parametrize("name", ["ddim", "unipc", "heun"])
def test_the_bound_loop_is_the_numpy_loop(graph: DividedGraph, name: str, guidance: str, batch: int) -> None:
    loop = BoundLoop(CPU)
    for _ in range(2):  # the second run has the first one's buffers
        compare(loop, graph, GUIDANCE[guidance], sampler(name), batch, values=values(graph, batch))  # type: ignore[arg-type]


def test_the_parts_run_once_a_run(graph: DividedGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of time: the table, and the first row."""
    runs: list[str] = []
    for name in ("text", "time", "body"):
        session = getattr(graph, name).session
        original = session.run_with_iobinding

        def counted(*arguments: Any, name: str = name, original: Any = original) -> None:
            runs.append(name)
            original(*arguments)

        monkeypatch.setattr(session, "run_with_iobinding", counted)
    loop, own = BoundLoop(CPU), sampler(steps=6)
    compare(loop, graph, Guidance(4.0), own, 1, values=values(graph, 1))  # type: ignore[arg-type]
    assert {name: runs.count(name) for name in ("text", "time", "body")} == {"text": 1, "time": 2, "body": 6}


def test_shifts_of_a_row_are_cut_in_the_order_of_their_numbers() -> None:
    shapes = {"shift_10": (2, 1), "sample": (2, 4), **{f"shift_{number}": (2, number + 1) for number in range(10)}}
    assert list(shift_shapes(shapes)) == [f"shift_{number}" for number in range(11)]
    row = np.arange(2 * sum(range(1, 11)) + 2)
    cut = shifts_of(row, shapes)
    np.testing.assert_array_equal(cut["shift_1"], [[2, 3], [4, 5]])
    np.testing.assert_array_equal(cut["shift_10"], row[-2:, None])
    np.testing.assert_array_equal(np.concatenate([each.ravel() for each in cut.values()]), row)


def test_rows_that_fill_a_call_up_do_not_change_the_others(graph: DividedGraph) -> None:
    inputs = values(graph, 1)
    rows = {name: np.concatenate([array, array]) for name, array in inputs["positive"].items()}
    sample, timestep = np.concatenate([inputs["noise"]] * 2), np.asarray(500.0)
    both = graph({"sample": sample, "timestep": timestep, **rows})["out_sample"]
    alone = graph({"sample": inputs["noise"], "timestep": timestep, **inputs["positive"]})["out_sample"]
    np.testing.assert_allclose(alone, both[:1], atol=EQUAL)
    shapes = {name: array.shape for name, array in rows.items()}
    assert BoundDenoiser(graph, sample.shape, shapes).output.shape == sample.shape
