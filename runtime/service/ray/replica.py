"""Where pictures are made on Ray Serve: a package, loaded, and what Ray batches for it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import serve

from ...errors import TriptychError
from ...image.pixels import SETTINGS_KEY
from ...pipeline import TextToImage
from ...request import Request
from ...tasks.batching import key_of
from ..http.models import suitable
from ..log import hide_prompts
from ..queue.previews import Previews
from ..queue.ticket import Ticket, make
from .figures import RayFigures


@dataclass(frozen=True)
class Begun:
    """The turn of a picture has come."""


@dataclass(frozen=True)
class Preview:
    """Pixels uint8 [H, W, 3] of a picture in the making."""

    number: int
    pixels: np.ndarray


@dataclass(frozen=True)
class Made:
    """A picture: pixels uint8 [H, W, 3], and its settings as JSON."""

    pixels: np.ndarray
    settings: str


@dataclass(frozen=True)
class Failed:
    """Why there is no picture."""

    error: TriptychError


News = Begun | Preview | Made | Failed
"""What happens to a picture, in that order; the last two end it."""


@dataclass(frozen=True)
class _Order:
    ticket: Ticket
    tell: Callable[[News], None]


class Replica:
    """A package, loaded, that makes the pictures which Ray sends here; `serve.deployment` makes a deployment of it.

    Args:
        package: its folder.
        load: arguments of `TextToImage.load`; without a GPU, it uses as many threads as Ray gives it CPUs.
        batch: pictures of a call at most; None is what suits the device.
        wait: seconds that a picture may wait for company.
        log_prompts: whether prompts may be in the log.
    """

    def __init__(
        self, package: Path, load: Mapping[str, Any], *, batch: int | None, wait: float, log_prompts: bool
    ) -> None:
        if not log_prompts:
            hide_prompts()
        self._name = package.resolve().name
        self._pipe = TextToImage.load(package, **_with_threads(load))
        self._figures = RayFigures()
        batched: Any = self._together  # which is more than a method
        batched.set_max_batch_size(suitable(self._pipe) if batch is None else batch)
        batched.set_batch_wait_timeout_s(wait)

    async def make(self, request: Request, previews: int) -> AsyncIterator[News]:
        """What happens to one picture, as it happens; who stops reading drops it."""
        loop, news = asyncio.get_running_loop(), asyncio.Queue[News]()

        def tell(what: News) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everything that would read it
                loop.call_soon_threadsafe(news.put_nowait, what)

        watch = Previews(previews, lambda number, pixels: tell(Preview(number, pixels))) if previews else None
        ticket = Ticket(request, key_of(self._pipe, request), watch)
        ticket.done.add_done_callback(lambda done: tell(_outcome(done)))
        waiting = asyncio.ensure_future(self._together(_Order(ticket, tell)))
        try:
            what: News | None = None
            while not isinstance(what, Made | Failed):
                what = await news.get()
                yield what
        finally:
            ticket.dropped = True
            waiting.cancel()

    @serve.batch
    async def _together(self, orders: list[_Order]) -> list[None]:
        """Ray's batch: what can be made in one call is; the rest of it comes after."""
        groups: dict[Hashable, list[_Order]] = {}
        for order in orders:
            groups.setdefault(order.ticket.key, []).append(order)
        for group in groups.values():
            wanted = [order for order in group if not order.ticket.dropped]
            for order in wanted:
                order.tell(Begun())
                self._figures.waited(self._name, time.monotonic() - order.ticket.arrived)
            if wanted:
                tickets = [order.ticket for order in wanted]
                await asyncio.to_thread(make, self._name, self._pipe, tickets, self._figures)
        return [None] * len(orders)


def _outcome(done: "Future[Any]") -> News:
    error = done.exception()
    if error is None:
        image = done.result()
        return Made(np.asarray(image), image.info[SETTINGS_KEY])
    # what is not Triptych's need not be known where this is read
    return Failed(error if isinstance(error, TriptychError) else TriptychError(f"{type(error).__name__}: {error}"))


def _with_threads(load: Mapping[str, Any]) -> dict[str, Any]:
    given = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    if given.get("GPU"):
        return dict(load)
    threads = {"intra_op_num_threads": max(1, int(given.get("CPU", 1)))}
    return {**load, "session_options": threads | dict(load.get("session_options") or {})}
