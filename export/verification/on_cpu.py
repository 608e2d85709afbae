"""A component on the CPU, in any operator set, called with arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from triptych.runtime.families.conditioning import SAMPLE, TEXT
from triptych.runtime.families.parts import MODEL, SHIFTS, TEXT_PART, TIME_PART, shifts_of
from triptych.runtime.ort.library import ort

from .expansion import open_on_cpu

Arrays = Mapping[str, np.ndarray]


class OnCpu:
    """The graphs of a component, called as one.

    Args:
        graph: file of its own graph.
        parts: names of its further graphs; those of a denoiser, or none.
        optimise: let ONNX Runtime optimise the graphs, or run them as they are.
    """

    def __init__(self, graph: Path, parts: Sequence[str] = (), *, optimise: bool = True) -> None:
        files = {MODEL: graph, **{part: graph.with_name(f"{part}.onnx") for part in parts}}
        self._sessions = {name: open_on_cpu(file, _options(optimise)) for name, file in files.items()}

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name; inputs are cast to the graphs' types."""
        if len(self._sessions) == 1:
            return self._run(MODEL, inputs)
        shapes = {spec.name: spec.shape for spec in self._sessions[MODEL].get_inputs()}
        text = self._run(TEXT_PART, {TEXT: inputs[TEXT]})
        others = {name: np.atleast_1d(array) for name, array in inputs.items() if name not in (SAMPLE, TEXT)}
        (row,) = self._run(TIME_PART, others)[SHIFTS]
        return self._run(MODEL, {SAMPLE: inputs[SAMPLE], **text, **shifts_of(row, shapes)})

    def _run(self, name: str, inputs: Arrays) -> dict[str, np.ndarray]:
        session = self._sessions[name]
        halves = {spec.name for spec in session.get_inputs() if spec.type == "tensor(float16)"}
        fed = {key: array.astype(np.float16) if key in halves else array for key, array in inputs.items()}
        names = [spec.name for spec in session.get_outputs()]
        return dict(zip(names, session.run(None, fed), strict=True))


def _options(optimise: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = False  # the peak is what the largest case needs, not what all of them together do
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    return options
