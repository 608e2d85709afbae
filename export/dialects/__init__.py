"""Which operators a graph says: standard ones, or those that a target has fused kernels for."""

from triptych.runtime.device import CUDA, why_not
from triptych.runtime.errors import ArgumentError, nearest

from .cpu import CPU_DIALECT
from .cuda import CUDA_DIALECT
from .dialect import Dialect, check_said, said_by

__all__ = ["DIALECTS", "Dialect", "check_said", "default_dialect", "dialect_named", "said_by"]

DIALECTS = {dialect.name: dialect for dialect in (Dialect("portable"), CPU_DIALECT, CUDA_DIALECT)}


def dialect_named(name: str) -> Dialect:
    """The dialect of that name.

    Raises:
        ArgumentError: there is none.
    """
    if name not in DIALECTS:
        raise ArgumentError(f"unknown dialect {name}; {nearest(name, DIALECTS)}")
    return DIALECTS[name]


def default_dialect(precision: str) -> Dialect:
    """That of the machine which exports: cuda where a CUDA device really runs graphs, else cpu.

    A precision that the CPU has no kernels for, such as fp16, is meant for another machine: portable.
    """
    if why_not(CUDA) is None:
        return CUDA_DIALECT
    has_kernels = CPU_DIALECT.precisions is None or precision in CPU_DIALECT.precisions
    return CPU_DIALECT if has_kernels else DIALECTS["portable"]
