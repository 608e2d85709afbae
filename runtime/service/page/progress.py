"""Pictures as they come about, for one who watches them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...package.graphs import PREVIEW_DECODER
from ...pipeline import TextToImage
from ...request import Request
from ...sampling import Step
from ..errors import timed_out
from ..http.delivery import service_error
from ..queue.batcher import Batcher
from ..queue.previews import Previews
from ..queue.ticket import Watch

if TYPE_CHECKING:
    from PIL.Image import Image

PREVIEWS, DECODED_PREVIEWS = 24, 4
"""Of a picture at most: of the package's preview decoder, which costs little, and of its own decoder."""

_FRAME, _PULSE = 0.1, 1.0  # seconds between two states: at least, and where nothing happens


@dataclass
class Making:
    """How far a picture is: `step` of `total`, 0 of 0 while it waits; pixels uint8 [H, W, 3] of the last preview."""

    seed: int
    step: int = 0
    total: int = 0
    preview: np.ndarray | None = None


async def watched(
    batcher: Batcher, requests: Sequence[Request], timeout: float
) -> "AsyncIterator[list[Making] | list[Image]]":
    """How far the pictures are, again and again, and at last the pictures; dropped when nobody asks any more.

    Args:
        batcher: whose queue they wait in.
        requests: of one request.
        timeout: seconds that it may take.

    Raises:
        ServiceError: of the queue, of time, or of a picture that could not be made.
    """
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    states = [Making(request.seeds()[0]) for request in requests]
    deadline = time.monotonic() + timeout

    def tell(state: Making, changes: dict[str, Any]) -> None:
        for name, value in changes.items():
            setattr(state, name, value)
        news.set()

    def later(state: Making, **changes: Any) -> None:
        """From the worker's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everything that would read it
            loop.call_soon_threadsafe(tell, state, changes)

    tickets = batcher.submit(requests, [_watch(batcher.pipe, partial(later, state)) for state in states])
    try:
        for ticket in tickets:
            ticket.done.add_done_callback(lambda _: later(states[0]))  # nothing but that there is news
        while not all(ticket.done.done() for ticket in tickets):
            yield states
            news.clear()
            await asyncio.sleep(_FRAME)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), _PULSE)
            if time.monotonic() > deadline:
                raise timed_out(timeout)
        for ticket in tickets:
            if error := asyncio.CancelledError() if ticket.done.cancelled() else ticket.done.exception():
                raise service_error(error)
        yield [ticket.done.result() for ticket in tickets]
    finally:
        batcher.drop(tickets)


def _watch(pipe: TextToImage, later: Callable[..., None]) -> Watch:
    count = PREVIEWS if PREVIEW_DECODER in pipe.package.components else DECODED_PREVIEWS
    draw = Previews(count, lambda _, pixels: later(preview=pixels))

    def watch(pipe: TextToImage, step: Step, row: int) -> None:
        later(step=step.index + 1, total=step.total)
        draw(pipe, step, row)

    return watch
