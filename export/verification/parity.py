"""Parity of a graph with the function that PyTorch computes, in dB."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from triptych.runtime.errors import VerificationError

from ..components import Component, Sizes
from .on_cpu import OnCpu

MOST_DB = 200.0
"""Parity of equal outputs, so that the figure stays a number; float32 outputs that differ in one bit are below it."""

STATIC_DRAWS = 2
"""Number of random inputs that a graph of fixed shapes is verified on."""


@dataclass(frozen=True)
class ReferenceCase:
    """Inputs of a component and PyTorch's float32 outputs for them, by name."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class CaseParity:
    """Parity in one case, the shapes of whose inputs are `shapes`: see `Parity`."""

    shapes: dict[str, list[int]]
    db: float
    max_abs_error: float


@dataclass(frozen=True)
class Parity:
    """Distance of a graph's outputs from PyTorch's: in the worst case, and in each case.

    `db` is the signal-to-noise ratio of the worst output, 10 log10(sum(reference^2) / sum((graph - reference)^2));
    `max_abs_error` the largest single difference anywhere.
    """

    db: float
    max_abs_error: float
    floor_db: float
    cases: tuple[CaseParity, ...]

    def __str__(self) -> str:
        return f"{self.db:.1f} dB, max error {self.max_abs_error:.1e}"


def reference_cases(
    component: Component, static: Sizes | None = None, samples: Sequence[Sequence[torch.Tensor]] = ()
) -> list[ReferenceCase]:
    """Random inputs and PyTorch's outputs: at each of the component's sizes, or several times at fixed ones.

    If there are samples of the component's inputs, these are cut or repeated instead: eight bits hold for ranges
    seen in use, and noise leaves them.
    """
    sizes_of_cases = component.cases if static is None else (static,) * STATIC_DRAWS
    cases = []
    for index, sizes in enumerate(sizes_of_cases):
        inputs = component.like(samples[index % len(samples)], sizes) if samples else component.draw(sizes, seed=index)
        with torch.inference_mode():
            outputs = component.reference(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        named = zip(component.outputs, outputs, strict=True)
        cases.append(ReferenceCase(inputs, {name: output.numpy() for name, output in named}))
    return cases


def verify(
    name: str,
    graph: Path,
    cases: list[ReferenceCase],
    floor_db: float,
    parts: Sequence[str] = (),
    *,
    optimise: bool = True,
) -> Parity:
    """Run the written graph on the same inputs in ONNX Runtime on CPU; without `optimise` it runs as it is.

    A component in parts is run as the runtime runs it: what the parts give is fed to its own graph.

    Operators that only CUDA has are expanded there, see `expansion`. The CPU computes float16 in float32: of a graph
    that runs as it is, each weight is widened when its turn comes, else all of them before the first.

    Raises:
        VerificationError: an output has another shape, holds NaN or infinity, or is below the floor.
    """
    component = OnCpu(graph, parts, optimise=optimise)
    results = tuple(_case_parity(name, component, case) for case in cases)
    parity = Parity(min(case.db for case in results), max(case.max_abs_error for case in results), floor_db, results)
    if parity.db < floor_db:
        raise VerificationError(
            f"{name}: the graph is {parity} from PyTorch, below the floor of {floor_db:g} dB; nothing was published"
        )
    return parity


def _case_parity(name: str, component: OnCpu, case: ReferenceCase) -> CaseParity:
    outputs = component(case.inputs)
    compared = [_compare(name, output, outputs[output], reference) for output, reference in case.outputs.items()]
    return CaseParity(
        shapes={key: list(value.shape) for key, value in case.inputs.items()},
        db=min(db for db, _ in compared),
        max_abs_error=max(error for _, error in compared),
    )


def _compare(component: str, output: str, values: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """(dB, largest absolute error) of a graph's output against PyTorch's."""
    if values.shape != reference.shape:
        raise VerificationError(f"{component}: {output} has shape {values.shape}, PyTorch's has {reference.shape}")
    if not np.isfinite(reference).all():
        raise VerificationError(f"{component}: PyTorch itself gives NaN or infinity in {output}: broken weights")
    if not np.isfinite(values).all():
        raise VerificationError(f"{component}: the graph gives NaN or infinity in {output}; try --precision fp32")
    error = values.astype(np.float64) - reference
    noise, signal = float(np.sum(error**2)), float(np.sum(reference.astype(np.float64) ** 2))
    if noise == 0:
        return MOST_DB, 0.0
    db = 10 * math.log10(signal / noise) if signal > 0 else -MOST_DB
    return min(MOST_DB, db), float(np.abs(error).max())
