"""The queue of one model, and the worker thread that generates its images in batches."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

from ...pipeline import TextToImage
from ...request import Request
from ..errors import check_room, unavailable
from ..metrics import Metrics
from .progress import Progress
from .ticket import StepCallback, Ticket, generate, tickets_of


class Batcher:
    """The queue of one package and its worker thread.

    Images are generated in the order of arrival. Later images that can share a call with the first are batched with it.

    Args:
        name: of the model.
        pipe: the pipeline that generates the images.
        metrics: record calls, waiting times and cancelled images.
        batch: images of a call at most.
        wait: seconds that the first image may wait for others to batch with.
        queue: capacity of the queue, in images.
    """

    def __init__(self, name: str, pipe: TextToImage, metrics: Metrics, *, batch: int, wait: float, queue: int) -> None:
        self.name, self.pipe = name, pipe
        self._metrics, self._batch, self._wait, self._capacity = metrics, batch, wait, queue
        self._waiting: deque[Ticket] = deque()
        self._running: list[Ticket] = []
        self._changed = threading.Condition()
        self._closing = False
        self._seconds: float | None = None  # per image, measured on the last call
        self._thread = threading.Thread(target=self._work, name=f"triptych {name}", daemon=True)
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
            self._changed.notify()
        return tickets

    def progress(self, ticket: Ticket) -> Progress:
        """See `ticket.Queue`."""
        with self._changed:
            if ticket.running is not None or ticket not in self._waiting:
                return ticket.running or ticket.queued(None, None)
            position = self._waiting.index(ticket)
            before = position + len(self._running)
            return ticket.queued(position, None if self._seconds is None else (before + 1) * self._seconds)

    def drop(self, tickets: Iterable[Ticket]) -> None:
        """Cancel images: they leave the queue; a running call stops at the next step if all its images are dropped."""
        with self._changed:
            for ticket in tickets:
                if not ticket.done.done() and not ticket.dropped:
                    ticket.dropped = True
                    if ticket.done.cancel():
                        self._waiting.remove(ticket)
                    self._metrics.dropped(self.name)
            self._changed.notify()

    def close(self) -> None:
        """Accept no more images; accepted images are still generated."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def abandon(self) -> None:
        """Close the queue and cancel all images."""
        self.close()
        with self._changed:
            self.drop([*self._waiting, *self._running])

    def join(self) -> None:
        """Wait until all accepted images are finished; call `close` first."""
        self._thread.join()

    def _work(self) -> None:
        while tickets := self._next():
            start = time.monotonic()
            generate(self.name, self.pipe, tickets, self._metrics)
            if not any(ticket.dropped or ticket.done.exception() for ticket in tickets):
                self._seconds = (time.monotonic() - start) / len(tickets)
            with self._changed:
                self._running = []

    def _next(self) -> list[Ticket]:
        """Tickets of the next call; empty when the queue is closed and finished."""
        with self._changed:
            while True:
                if not self._waiting:
                    if self._closing:
                        return []
                    self._changed.wait()
                    continue
                first = self._waiting[0]
                tickets = [ticket for ticket in self._waiting if ticket.key == first.key][: self._batch]
                remaining = first.arrived + self._wait - time.monotonic()
                if len(tickets) == self._batch or remaining <= 0 or self._closing:
                    break
                self._changed.wait(remaining)
            for ticket in tickets:
                self._waiting.remove(ticket)
                ticket.done.set_running_or_notify_cancel()
                self._metrics.waited(self.name, time.monotonic() - ticket.arrived)
                ticket.start(None if self._seconds is None else self._seconds * len(tickets))
            self._running = tickets
            return tickets
