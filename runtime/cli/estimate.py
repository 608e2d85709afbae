"""Time and memory that images will take, printed before long work."""

import time
from collections.abc import Callable

from ..footprint import bytes_available, bytes_loaded, bytes_needed
from ..plan import Plan
from ..sampling import Step

LONG = 60.0
"""Seconds from which work is long, and its time is estimated."""
LARGE = 2**30
"""Bytes from which memory is estimated."""


class TimeEstimate:
    """Time of all images by the second step of the first one; the first step may include preparations.

    Args:
        runs: number of runs of the steps.
        images: number of images.
        clock: seconds, for tests.
    """

    def __init__(self, runs: int, images: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._runs, self._images, self._clock = runs, images, clock
        self._first: float | None = None
        self._is_made = False

    def after(self, step: Step) -> str | None:
        """A line for the user, once, if the steps that are left take long; else None."""
        if self._is_made:
            return None
        if self._first is None:
            self._first = self._clock()
            return None
        self._is_made = True
        seconds = self._clock() - self._first
        left = seconds * (self._runs * step.total - step.index - 1)
        if left < LONG:
            return None
        images = f"{self._images} image{'s' if self._images > 1 else ''}"
        steps = f"{self._runs} x {step.total}" if self._runs > 1 else str(step.total)
        return f"about {duration(left)} for {images}: {steps} steps of {seconds:.2g} s"


def memory_line(plan: Plan, memory: str) -> str | None:
    """A line for the user on the memory that images take on the CPU, None where that is little.

    Args:
        plan: of the first request.
        memory: policy of the graphs, see `Components`.
    """
    needed, available = _bytes(plan, memory), bytes_available()
    if needed < LARGE:
        return None
    line = f"about {needed / 2**30:.1f} GiB of memory, of {available / 2**30:.1f} GiB"
    if needed > available and memory != "low":
        line += f": it may not fit; --memory low takes about {_bytes(plan, 'low') / 2**30:.1f} GiB"
    return line


def duration(seconds: float) -> str:
    """Seconds as text, in the unit that a person would choose."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def _bytes(plan: Plan, memory: str) -> int:
    loaded = bytes_loaded(plan.model, on_host=True, memory=memory)
    return loaded + bytes_needed(plan, on_host=True, tiled=memory == "low")
