"""The loaded packages: each is loaded on first use, and unloaded when it is idle or another one needs its room."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from ...footprint import give_back
from ...pipeline import TextToImage
from ..limits import PoolLimits
from ..metrics import Metrics

ModelState = Literal["unloaded", "loading", "ready"]

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Member:
    """A package.

    Attributes:
        name: of the model.
        first: gives the arrival of the first image that waits for it, None if none waits.
        pipe: its pipeline, None if it is not loaded.
        held: it is being loaded, or generates images.
        used: when it was held for the last time, monotonic.
    """

    name: str
    first: Callable[[], float | None]
    pipe: TextToImage | None = None
    held: bool = False
    used: float = 0.0

    @property
    def present(self) -> bool:
        return self.held or self.pipe is not None


class Pool:
    """Pipelines of the packages, loaded within limits: a worker enters, takes the pipeline, and leaves.

    First come, first served, across packages: while images wait for a package that has no room, no other package
    starts a call of images that arrived later. So the packages in the way become idle, and none is starved.

    Args:
        limits: of the loaded packages; each package alone is within them.
        metrics: count loads and unloads.

    Attributes:
        changed: the lock of the pool and of the queues of its packages; notified of each change.
    """

    def __init__(self, limits: PoolLimits, metrics: Metrics) -> None:
        self.changed = threading.Condition()
        self._limits, self._metrics = limits, metrics
        self._members: dict[str, _Member] = {}
        self._load: Callable[[str], TextToImage] | None = None
        self._sizes: Mapping[str, int] = {}

    def add(self, name: str, first: Callable[[], float | None]) -> None:
        """Add a package; `first` gives the arrival of the first image that waits for it, None if none waits."""
        with self.changed:
            self._members[name] = _Member(name, first)

    def start(self, load: Callable[[str], TextToImage], sizes: Mapping[str, int]) -> None:
        """Load packages from now on, by a function of their names; `sizes` are their bytes by name."""
        with self.changed:
            self._load, self._sizes = load, sizes
            self.changed.notify_all()

    def preload(self, name: str) -> bool:
        """Load a package if there is room for it; whether it is loaded. Raises the errors of loading."""
        member = self._members[name]
        with self.changed:
            self.changed.wait_for(lambda: not member.held)
            if member.pipe is not None or not self._limits.allow(self._sizes_with(member, without=())):
                return member.pipe is not None
            member.held = True
        try:
            self.pipe(name)
        finally:
            self.leave(name)
        return True

    def enter(self, name: str, closed: Callable[[], bool]) -> bool:
        """Wait until it is the turn of the images that wait for a package, and hold room for it until `leave`.

        Meanwhile the package is unloaded when it is idle. False if no image waits, and the queue is closed.
        """
        member = self._members[name]
        while True:
            with self.changed:
                removed = self._removed_for(member)
                started = removed is not None
                if removed is not None:
                    member.held = True
                    self.changed.notify_all()
                elif self._remains_idle(member) == 0:
                    removed = [member]
                elif closed() and member.first() is None:
                    return False
                else:
                    self.changed.wait(self._remains_idle(member))
                pipes = [self._remove(each) for each in removed or ()]
            if pipes:
                pipes.clear()  # outside of the lock, as it takes time
                give_back()
            if started:
                return True

    def pipe(self, name: str) -> TextToImage:
        """Pipeline of a package that the caller holds, loaded if it is not. Raises the errors of loading."""
        member = self._members[name]
        if member.pipe is None:
            assert self._load is not None
            start = time.monotonic()
            pipe = self._load(name)
            self._metrics.loaded(name, time.monotonic() - start)
            with self.changed:
                member.pipe = pipe
        return member.pipe

    def leave(self, name: str) -> None:
        """End what `enter` began."""
        with self.changed:
            member = self._members[name]
            member.held, member.used = False, time.monotonic()
            self.changed.notify_all()

    def state_of(self, name: str) -> ModelState:
        """State of a package."""
        member = self._members[name]
        if member.pipe is not None:
            return "ready"
        return "loading" if member.held else "unloaded"

    def _removed_for(self, member: _Member) -> list[_Member] | None:
        """The packages to unload so that the first image of one is next; None if it is not its turn."""
        arrived = member.first()
        if arrived is None or self._load is None:
            return None
        first = {each: each.first() for each in self._members.values() if each is not member}
        own = arrived, member.name  # two images can arrive at the same time of the clock
        later = {each for each, other in first.items() if other is None or (other, each.name) > own}
        if any(not each.present for each in first.keys() - later):
            return None
        removable = [each for each in later if each.pipe is not None and not each.held]
        removable.sort(key=lambda each: (first[each] is not None, each.used))
        if member.pipe is not None:
            return []
        counts = range(len(removable) + 1)
        fits = (n for n in counts if self._limits.allow(self._sizes_with(member, without=removable[:n])))
        count = next(fits, None)
        return None if count is None else removable[:count]

    def _sizes_with(self, member: _Member, without: Collection[_Member]) -> list[int]:
        """Sizes of a package, and of all others that are present, except those `without`."""
        others = (each for each in self._members.values() if each.present and each is not member)
        return [self._sizes[each.name] for each in (member, *others) if each not in without]

    def _remains_idle(self, member: _Member) -> float | None:
        """Seconds until a package is unloaded because it is idle; None if it is not idle, or stays."""
        if self._limits.idle is None or member.pipe is None or member.first() is not None:
            return None
        return max(0.0, member.used + self._limits.idle - time.monotonic())

    def _remove(self, member: _Member) -> TextToImage | None:
        pipe, member.pipe = member.pipe, None
        self._metrics.unloaded(member.name)
        _log.info("%s unloaded", member.name)
        return pipe
