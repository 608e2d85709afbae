"""Is a graph the function that PyTorch computes? Parity in dB, before anything is published."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from triptych.runtime.errors import VerificationError

from ..components import Component, Sizes
from .expansion import open_on_cpu

MOST_DB = 200.0
"""What equal answers get, so that the figure stays a number; float32 answers that differ in one bit are below it."""

STATIC_DRAWS = 2
"""How many random inputs a graph of fixed shapes is verified on."""


@dataclass(frozen=True)
class Question:
    """Inputs and PyTorch's float32 answers to them."""

    inputs: Mapping[str, np.ndarray]
    answers: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Parity:
    """How far a graph's answers are from PyTorch's: the worst case and all cases.

    `db` is the signal-to-noise ratio of the worst output, 10 log10(sum(answer^2) / sum((graph - answer)^2));
    `max_abs_error` the largest single difference anywhere.
    """

    db: float
    max_abs_error: float
    floor_db: float
    cases: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.db:.1f} dB, max error {self.max_abs_error:.1e}"


def ask(
    component: Component, static: Sizes | None = None, samples: Sequence[Sequence[torch.Tensor]] = ()
) -> list[Question]:
    """Put random inputs to PyTorch: at each of the component's sizes, or several times at the fixed ones.

    Where there are samples of its inputs, what is put takes after them: eight bits hold for ranges seen in use, and
    noise leaves them.
    """
    cases = component.cases if static is None else (static,) * STATIC_DRAWS
    questions = []
    for index, sizes in enumerate(cases):
        inputs = component.like(samples[index % len(samples)], sizes) if samples else component.draw(sizes, seed=index)
        with torch.inference_mode():
            answers = component.reference(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        named = zip(component.outputs, answers, strict=True)
        questions.append(Question(inputs, {name: answer.numpy() for name, answer in named}))
    return questions


def verify(name: str, graph: Path, questions: list[Question], floor_db: float, *, optimise: bool = True) -> Parity:
    """Put the same inputs to the written graph in ONNX Runtime on CPU; without `optimise` it runs as it is.

    Operators that only CUDA has are expanded there, see `dialects.expansion`. The CPU computes float16 in float32: of a
    graph that runs as it is, each weight is widened when its turn comes, else all of them before the first.

    Raises:
        VerificationError: an answer has another shape, holds NaN or infinity, or is below the floor.
    """
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = False  # the peak is what the largest case needs, not what all of them together do
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    session = open_on_cpu(graph, options)
    types = {spec.name: np.float16 if spec.type == "tensor(float16)" else None for spec in session.get_inputs()}
    outputs = [spec.name for spec in session.get_outputs()]
    cases: list[dict[str, Any]] = []
    for question in questions:
        inputs = {key: value.astype(types[key] or value.dtype) for key, value in question.inputs.items()}
        given = dict(zip(outputs, session.run(None, inputs), strict=True))
        compared = [_compare(name, output, given[output], answer) for output, answer in question.answers.items()]
        cases.append(
            {
                "shapes": {key: list(value.shape) for key, value in question.inputs.items()},
                "db": min(db for db, _ in compared),
                "max_abs_error": max(error for _, error in compared),
            }
        )
    parity = Parity(
        min(case["db"] for case in cases), max(case["max_abs_error"] for case in cases), floor_db, tuple(cases)
    )
    if parity.db < floor_db:
        raise VerificationError(
            f"{name}: the graph is {parity} from PyTorch, below the floor of {floor_db:g} dB; nothing was published"
        )
    return parity


def _compare(component: str, output: str, given: np.ndarray, answer: np.ndarray) -> tuple[float, float]:
    """(dB, largest absolute error) of a graph's output against PyTorch's."""
    if given.shape != answer.shape:
        raise VerificationError(f"{component}: {output} has shape {given.shape}, PyTorch's has {answer.shape}")
    if not np.isfinite(answer).all():
        raise VerificationError(f"{component}: PyTorch itself gives NaN or infinity in {output}: broken weights")
    if not np.isfinite(given).all():
        raise VerificationError(f"{component}: the graph gives NaN or infinity in {output}; try --precision fp32")
    error = given.astype(np.float64) - answer
    noise, signal = float(np.sum(error**2)), float(np.sum(answer.astype(np.float64) ** 2))
    if noise == 0:
        return MOST_DB, 0.0
    db = 10 * math.log10(signal / noise) if signal > 0 else -MOST_DB
    return min(MOST_DB, db), float(np.abs(error).max())
