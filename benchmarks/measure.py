"""Time a call: the first one, then warm ones for a bounded time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SECONDS = 10.0  # of warm calls, unless that is fewer than AT_LEAST
AT_LEAST, AT_MOST = 3, 200  # warm calls


@dataclass(frozen=True)
class Latency:
    """Seconds of the first call, and the fastest, median and 90th percentile (interpolated) of `calls` warm ones."""

    first_seconds: float
    calls: int
    best_seconds: float
    median_seconds: float
    p90_seconds: float


def time_calls(
    call: Callable[[], object], *, seconds: float = SECONDS, clock: Callable[[], float] = time.perf_counter
) -> Latency:
    """Call once, then again until `seconds` have passed: at least AT_LEAST times, at most AT_MOST times.

    Args:
        call: function to time; its work must be finished when it returns.
        seconds: time after which no further warm call starts.
        clock: gives seconds from any origin.
    """
    first = _time(call, clock)
    warm: list[float] = []
    start = clock()
    while len(warm) < AT_LEAST or (clock() - start < seconds and len(warm) < AT_MOST):
        warm.append(_time(call, clock))
    return Latency(first, len(warm), min(warm), float(np.median(warm)), float(np.percentile(warm, 90)))


def _time(call: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start
