"""A denoiser of several graphs: parts of it need to be run only once per image, or once per run.

In the cuda operator set, `text` gives the keys and values of the text for all blocks, `time` the shifts of all blocks
for all steps, and the component's own graph takes both as inputs.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import PackageError
from ..ort.session import Graph, take_rows
from .conditioning import SAMPLE, TEXT, TIMESTEP

MODEL = "model"
"""Name of a component's own graph."""

TEXT_PART, TIME_PART = "text", "time"
PARTS = (TEXT_PART, TIME_PART)
"""Names of its further graphs."""

KEY, VALUE, SHIFT = "key_", "value_", "shift_"
"""Inputs of the own graph, each with the number of its block: float [rows, tokens or none, channels]."""

SHIFTS = "shifts"
"""Output of `time`: float [calls, width], a row for each denoiser call: its shifts in order, each row by row."""

CALLS = "calls"
"""Axis of denoiser calls, the only one of `time` that may vary."""


class DividedGraph:
    """A denoiser of several graphs, called as one.

    Args:
        body: its own graph.
        text, time: the parts.

    Attributes:
        inputs, outputs: of all together, without what one part gives another.
        others: as `Graph` has them.

    Raises:
        PackageError: the parts do not give what the own graph takes.
    """

    def __init__(self, body: Graph, text: Graph, time: Graph) -> None:
        _check_fit(body, text, time)
        self.body, self.text, self.time = body, text, time
        self.name, self.device, self.providers = body.name, body.device, body.providers
        self.load_seconds = body.load_seconds + text.load_seconds + time.load_seconds
        self.inputs = {SAMPLE: body.inputs[SAMPLE], TIMESTEP: time.inputs[TIMESTEP], **text.inputs, **time.inputs}
        self.outputs = body.outputs

    def __call__(self, arrays: Mapping[str, np.ndarray], *, release: bool = False) -> dict[str, np.ndarray]:
        """Run the graphs one after another, with copies to the host between them: see `Graph`."""
        count, rows = len(arrays[SAMPLE]), fixed_rows(self.body)
        pieces = [self._run(take_rows(arrays, start, rows)) for start in range(0, count, rows)]
        return {name: np.concatenate([piece[name] for piece in pieces])[:count] for name in self.outputs}

    def _run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        text = self.text({TEXT: arrays[TEXT]})
        time = self.time({name: np.atleast_1d(arrays[name]) for name in self.time.inputs})
        shapes = {name: tensor.shape for name, tensor in self.body.inputs.items()}
        return self.body({SAMPLE: arrays[SAMPLE], **text, **shifts_of(time[SHIFTS][0], shapes)})


AnyGraph = Graph | DividedGraph
"""A component that can be called, of one graph or several."""


def body_of(graph: AnyGraph) -> Graph:
    """The component's own graph."""
    return graph.body if isinstance(graph, DividedGraph) else graph


def graphs_in(graph: AnyGraph) -> tuple[Graph, ...]:
    """All graphs of a component, its own first."""
    return (graph.body, graph.text, graph.time) if isinstance(graph, DividedGraph) else (graph,)


def fixed_rows(body: Graph) -> int:
    """Rows of a call of a denoiser in parts, whose shapes are fixed."""
    return int(body.inputs[SAMPLE].shape[0])


def shifts_of(row: np.ndarray, shapes: Mapping[str, Sequence[int | str]]) -> dict[str, np.ndarray]:
    """Shifts of one denoiser call by name, from a row of `SHIFTS`.

    Args:
        row: float [width].
        shapes: input of the own graph -> its shape.
    """
    shifts = shift_shapes(shapes)
    places = np.cumsum([math.prod(shape) for shape in shifts.values()])[:-1]
    pieces = np.split(row, places)
    return {name: piece.reshape(shape) for (name, shape), piece in zip(shifts.items(), pieces, strict=True)}


def shift_shapes(shapes: Mapping[str, Sequence[int | str]]) -> dict[str, tuple[int, ...]]:
    """Shapes of the shifts by name, in the order in which they stand in a row of `SHIFTS`."""
    names = [f"{SHIFT}{number}" for number in range(sum(name.startswith(SHIFT) for name in shapes))]
    return {name: tuple(int(axis) for axis in shapes[name]) for name in names}


def _check_fit(body: Graph, text: Graph, time: Graph) -> None:
    pairs = {name: tensor.shape for name, tensor in body.inputs.items() if name.startswith((KEY, VALUE))}
    if pairs != {name: tensor.shape for name, tensor in text.outputs.items()}:
        raise PackageError(
            f"the parts of {body.name} do not fit: {TEXT_PART} gives other keys and values than it takes"
        )
    shifts = shift_shapes({name: tensor.shape for name, tensor in body.inputs.items()})
    width = sum(math.prod(shape) for shape in shifts.values())
    if SHIFTS not in time.outputs or time.outputs[SHIFTS].shape[1:] != (width,):
        raise PackageError(
            f"the parts of {body.name} do not fit: {TIME_PART} does not give the {width} shifts it takes"
        )
