"""Operator sets that graphs are written in: standard operators, or those that a target has fused kernels for."""

from triptych.runtime.errors import lookup
from triptych.runtime.ort.probe import why_not
from triptych.runtime.ort.providers import CUDA

from ..arguments import DIALECTS as PRECISIONS
from .cpu import CPU_DIALECT
from .cuda import CUDA_DIALECT
from .dialect import Dialect, check_declared, declared_operators, graphs_of

__all__ = [
    "DIALECTS",
    "Dialect",
    "check_declared",
    "declared_operators",
    "default_dialect",
    "dialect_named",
    "graphs_of",
]

DIALECTS = {dialect.name: dialect for dialect in (Dialect("portable"), CPU_DIALECT, CUDA_DIALECT)}


def dialect_named(name: str) -> Dialect:
    """Look an operator set up by name.

    Raises:
        ArgumentError: no operator set has that name.
    """
    return lookup(DIALECTS, name, "operator set")


def default_dialect(precision: str) -> Dialect:
    """The operator set of this machine: cuda where a CUDA device really runs graphs, else cpu.

    A precision that neither has kernels for, such as fp16 on CPU, is meant for another machine: portable.
    """
    here = [CUDA_DIALECT, CPU_DIALECT] if why_not(CUDA) is None else [CPU_DIALECT]
    available = (each for each in here if precision in PRECISIONS[each.name])
    return next(available, DIALECTS["portable"])
