"""Pictures that wait for their turn, and the thread that makes them; those that can be made in one call are."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

from ...pipeline import TextToImage
from ...request import Request
from ...tasks.batching import key_of
from ..errors import check_room, unavailable
from ..metrics import Metrics
from .ticket import Ticket, Watch, make


class Batcher:
    """The queue of one package and its worker.

    First come, first served; but those that can share the call of the first are taken along.

    Args:
        name: of the model.
        pipe: what makes the pictures.
        metrics: that are told of it.
        batch: pictures of a call at most.
        wait: seconds that the first may wait for company.
        queue: pictures that may wait.
    """

    def __init__(self, name: str, pipe: TextToImage, metrics: Metrics, *, batch: int, wait: float, queue: int) -> None:
        self.name, self.pipe = name, pipe
        self._metrics, self._batch, self._wait, self._queue = metrics, batch, wait, queue
        self._waiting: deque[Ticket] = deque()
        self._making: list[Ticket] = []
        self._changed = threading.Condition()
        self._closing = False
        self._seconds = 1.0  # of a picture, as the last call had it
        self._thread = threading.Thread(target=self._work, name=f"triptych {name}", daemon=True)
        metrics.watch(name, lambda: len(self._waiting))
        self._thread.start()

    def submit(self, requests: Sequence[Request], watches: Sequence[Watch | None]) -> list[Ticket]:
        """Put the pictures of a request, which differ in their seeds alone, in the queue, all or none.

        Raises:
            ServiceError: more than the queue ever takes (400), than it takes now (429), or it is closed (503).
        """
        key = key_of(self.pipe, requests[0])
        tickets = [Ticket(request, key, watch) for request, watch in zip(requests, watches, strict=True)]
        with self._changed:
            if self._closing:
                raise unavailable("the service is about to stop", "stopping")
            check_room(len(tickets), len(self._waiting), self._queue, self._seconds)
            self._waiting.extend(tickets)
            self._changed.notify()
        return tickets

    def drop(self, tickets: Iterable[Ticket]) -> None:
        """Nobody waits for these: they leave the queue, or, where all of a call are dropped, stop at the next step."""
        with self._changed:
            for ticket in tickets:
                if not ticket.done.done() and not ticket.dropped:
                    ticket.dropped = True
                    if ticket.done.cancel():
                        self._waiting.remove(ticket)
                    self._metrics.dropped(self.name)
            self._changed.notify()

    def close(self) -> None:
        """Accept nothing more; what was accepted is made."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def abandon(self) -> None:
        """Drop everything."""
        self.close()
        with self._changed:
            self.drop([*self._waiting, *self._making])

    def join(self) -> None:
        """Wait until all that was accepted is made; after `close`."""
        self._thread.join()

    def _work(self) -> None:
        while tickets := self._next():
            start = time.monotonic()
            make(self.name, self.pipe, tickets, self._metrics)
            self._seconds = (time.monotonic() - start) / len(tickets)
            self._making = []

    def _next(self) -> list[Ticket]:
        """Those of the next call; none when there will be no more."""
        with self._changed:
            while True:
                if not self._waiting:
                    if self._closing:
                        return []
                    self._changed.wait()
                    continue
                first = self._waiting[0]
                tickets = [ticket for ticket in self._waiting if ticket.key == first.key][: self._batch]
                left = first.arrived + self._wait - time.monotonic()
                if len(tickets) == self._batch or left <= 0 or self._closing:
                    break
                self._changed.wait(left)
            for ticket in tickets:
                self._waiting.remove(ticket)
                ticket.done.set_running_or_notify_cancel()
                self._metrics.waited(self.name, time.monotonic() - ticket.arrived)
            self._making = tickets
            return tickets
