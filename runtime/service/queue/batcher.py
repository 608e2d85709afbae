"""The queue of one model, and the worker thread that generates its images in batches."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...errors import TriptychError
from ...pipeline import TextToImage
from ...request import Request
from ..errors import check_room, unavailable
from ..metrics import Metrics
from .pool import Pool
from .progress import Progress
from .ticket import StepCallback, Ticket, generate, tickets_of

BATCH = 4
"""Images per call on a GPU by default; the CPU computes row by row, so batching only delays its first image."""

_log = logging.getLogger(__name__)


class Batcher:
    """The queue of one package and its worker thread.

    Images are generated in the order of arrival. Later images that can share a call with the first are batched with it.

    Args:
        name: of the model.
        pipe: the package, for its geometry and components; the pool has the pipeline that generates the images.
        pool: loads the package, and gives turns to packages that cannot be loaded at the same time.
        metrics: record calls, waiting times and cancelled images.
        batch: images of a call at most; None chooses by device.
        wait: seconds that the first image may wait for others to batch with.
        queue: capacity of the queue, in images.
    """

    def __init__(
        self,
        name: str,
        pipe: TextToImage,
        pool: Pool,
        metrics: Metrics,
        *,
        batch: int | None,
        wait: float,
        queue: int,
    ) -> None:
        self.name, self.pipe, self._pool = name, pipe, pool
        self._metrics, self._batch, self._wait, self._capacity = metrics, batch, wait, queue
        self._waiting: deque[Ticket] = deque()
        self._running: list[Ticket] = []
        self._changed = pool.changed
        self._closing = False
        self._seconds: float | None = None  # per image, measured on the last call
        self._thread = threading.Thread(target=self._work, name=f"triptych {name}", daemon=True)
        pool.add(name, lambda: self._waiting[0].arrived if self._waiting else None)
        metrics.watch(name, lambda: len(self._waiting))
        self._thread.start()

    def submit(
        self, requests: Sequence[Request], callbacks: Sequence[StepCallback | None], upscale: float | None = None
    ) -> list[Ticket]:
        """See `ticket.Queue`."""
        tickets = tickets_of(self.pipe, requests, upscale, callbacks)
        with self._changed:
            if self._closing:
                raise unavailable("the service is stopping", "stopping")
            check_room(len(tickets), len(self._waiting), self._capacity, self._seconds)
            self._waiting.extend(tickets)
            self._changed.notify_all()
        return tickets

    def progress(self, ticket: Ticket) -> Progress:
        """See `ticket.Queue`."""
        with self._changed:
            if ticket.running is not None or ticket not in self._waiting:
                return ticket.running or ticket.queued(None, None)
            position = self._waiting.index(ticket)
            before = position + len(self._running)
            progress = ticket.queued(position, None if self._seconds is None else (before + 1) * self._seconds)
            return replace(progress, state="loading") if self._pool.state_of(self.name) == "loading" else progress

    def drop(self, tickets: Iterable[Ticket]) -> None:
        """Cancel images: they leave the queue; a running call stops at the next step if all its images are dropped."""
        with self._changed:
            for ticket in tickets:
                if not ticket.done.done() and not ticket.dropped:
                    ticket.dropped = True
                    if ticket.done.cancel():
                        self._waiting.remove(ticket)
                    self._metrics.dropped(self.name)
            self._changed.notify_all()

    def close(self) -> None:
        """Accept no more images; accepted images are still generated."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Close the queue and cancel all images."""
        self.close()
        with self._changed:
            self.drop([*self._waiting, *self._running])

    def join(self) -> None:
        """Wait until all accepted images are finished; call `close` first."""
        self._thread.join()

    def _work(self) -> None:
        while self._pool.enter(self.name, lambda: self._closing):
            loaded = self._call()  # holds the pipeline only until it returns
            with self._changed:
                self._pool.leave(self.name)
                if not loaded:  # a client that sees its request fail finds the package unloaded
                    self._fail()

    def _call(self) -> bool:
        """Generate the images of one call; False if the package cannot be loaded."""
        try:
            pipe = self._pool.pipe(self.name)
        except Exception as error:
            _log.error("%s cannot be loaded: %s", self.name, error, exc_info=not isinstance(error, TriptychError))
            return False
        if not (tickets := self._next(suitable(pipe) if self._batch is None else self._batch)):
            return True
        start = time.monotonic()
        generate(self.name, pipe, tickets, self._metrics)
        if not any(ticket.dropped or ticket.done.exception() for ticket in tickets):
            self._seconds = (time.monotonic() - start) / len(tickets)
        with self._changed:
            self._running = []
        return True

    def _fail(self) -> None:
        """Fail all images that wait, because the package cannot be loaded; the caller holds the lock."""
        reason = f"{self.name} cannot be loaded; see the log of the service"
        while self._waiting:
            self._waiting.popleft().done.set_exception(unavailable(reason, "load_failed"))

    def _next(self, batch: int) -> list[Ticket]:
        """Tickets of the next call; empty if no image waits any more."""
        with self._changed:
            while self._waiting:
                first = self._waiting[0]
                tickets = [ticket for ticket in self._waiting if ticket.key == first.key][:batch]
                remaining = first.arrived + self._wait - time.monotonic()
                if len(tickets) == batch or remaining <= 0 or self._closing:
                    break
                self._changed.wait(remaining)
            else:
                return []
            for ticket in tickets:
                self._waiting.remove(ticket)
                ticket.done.set_running_or_notify_cancel()
                self._metrics.waited(self.name, time.monotonic() - ticket.arrived)
                ticket.start(None if self._seconds is None else self._seconds * len(tickets))
            self._running = tickets
            return tickets


def suitable(pipe: TextToImage) -> int:
    """Default maximum of images per call on the pipeline's device."""
    return 1 if pipe.device.memory.kind == "cpu" else BATCH
