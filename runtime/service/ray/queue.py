"""The replicas of a package on Ray Serve as the API asks them; a picture whose replica dies is made by another."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from ray.exceptions import ObjectLostError, RayActorError
from ray.serve.exceptions import DeploymentUnavailableError

from ...errors import TriptychError
from ...image.pixels import to_image
from ...image.settings import Settings
from ...pipeline import TextToImage
from ...request import Request
from ..errors import check_room, unavailable
from ..metrics import Figures
from ..queue.previews import Previews
from ..queue.ticket import Ticket
from .replica import Begun, Failed, Made, Preview

_RETRIES = 3  # of a picture whose replica died: one that kills each of them is not tried without end
_PAUSE = 0.5  # seconds before it is tried again, for Ray to notice

_log = logging.getLogger(__name__)


class RayQueue:
    """What one replica of the API has asked for and has not got yet. Ray holds it and routes it.

    Args:
        name: of the model.
        pipe: the package, which is asked what it can do and makes nothing.
        replicas: Ray's handle.
        figures: that are told of it.
        queue: pictures that may wait.
    """

    def __init__(self, name: str, pipe: TextToImage, replicas: Any, figures: Figures, queue: int) -> None:
        self.name, self.pipe = name, pipe
        self._replicas, self._figures, self._most = replicas.options(stream=True), figures, queue
        self._waiting: set[Ticket] = set()
        self._making: dict[Ticket, float] = {}
        self._tasks: dict[Ticket, asyncio.Task[None]] = {}
        self._seconds = 1.0  # between two pictures, as the last one had it

    def submit(self, requests: Sequence[Request], watches: Sequence[Previews | None]) -> list[Ticket]:
        """See `ticket.Queue`."""
        check_room(len(requests), len(self._waiting), self._most, self._seconds)
        tickets = [Ticket(request, None, watch) for request, watch in zip(requests, watches, strict=True)]
        for ticket, watch in zip(tickets, watches, strict=True):
            self._waiting.add(ticket)
            task = self._tasks[ticket] = asyncio.create_task(self._follow(ticket, watch))
            task.add_done_callback(partial(self._ended, ticket))
        return tickets

    def drop(self, tickets: Iterable[Ticket]) -> None:
        """See `ticket.Queue`."""
        for ticket in tickets:
            if not (ticket.done.done() or ticket.dropped):
                ticket.dropped = True
                self._figures.dropped(self.name)
                self._tasks[ticket].cancel()

    def _ended(self, ticket: Ticket, _: "asyncio.Task[None]") -> None:
        self._waiting.discard(ticket)
        self._making.pop(ticket, None)
        del self._tasks[ticket]
        ticket.done.cancel()  # where nothing came of it

    async def _follow(self, ticket: Ticket, watch: Previews | None) -> None:
        """One picture, to its end."""
        shown: set[int] = set()
        try:
            for retries in range(_RETRIES, -1, -1):
                try:
                    await self._ask(ticket, watch, shown)
                    break
                except (RayActorError, ObjectLostError) as error:
                    if not retries:
                        raise TriptychError(f"{_RETRIES + 1} replicas died over one picture") from error
                    _log.warning("a replica of %s died; its picture is made by another", self.name)
                    await asyncio.sleep(_PAUSE)
        except DeploymentUnavailableError:
            ticket.done.set_exception(unavailable(f"{self.name} has no replica that runs", "no_replica"))
        except Exception as error:
            ticket.done.set_exception(error)

    async def _ask(self, ticket: Ticket, watch: Previews | None, shown: set[int]) -> None:
        """A replica for it; `shown` are the previews that need not be shown again."""
        answer = self._replicas.make.remote(ticket.request, watch.count if watch else 0)
        try:
            async for what in answer:
                match what:
                    case Begun():
                        self._waiting.discard(ticket)
                        self._making[ticket] = time.monotonic()
                    case Preview(number, pixels):
                        if watch is not None and number not in shown:
                            shown.add(number)
                            watch.show(number, pixels)
                    case Made(pixels, settings):
                        self._seconds = (time.monotonic() - self._making[ticket]) / len(self._making)
                        ticket.done.set_result(to_image(pixels, Settings.from_json(settings)))
                    case Failed(error):
                        ticket.done.set_exception(error)
        finally:
            if not ticket.done.done():
                answer.cancel()
