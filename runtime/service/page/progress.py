"""Progress of images in the queue, with previews."""

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
from ..queue.ticket import StepCallback

if TYPE_CHECKING:
    from PIL.Image import Image

PREVIEWS, DECODED_PREVIEWS = 24, 4
"""Previews of an image at most, with the preview decoder, which is fast, and with the VAE decoder."""

_FRAME, _PULSE = 0.1, 1.0  # seconds between two updates: minimum, and maximum without changes


@dataclass
class Progress:
    """Progress of an image: `step` of `total`, 0 of 0 in the queue; pixels uint8 [H, W, 3] of the last preview."""

    seed: int
    step: int = 0
    total: int = 0
    preview: np.ndarray | None = None


async def progress_of(
    batcher: Batcher, requests: Sequence[Request], timeout: float
) -> "AsyncIterator[list[Progress] | list[Image]]":
    """Yield the progress of images repeatedly, then the images; closing the iterator cancels them.

    Args:
        batcher: the queue of the model.
        requests: images of one HTTP request.
        timeout: seconds for all images.

    Raises:
        ServiceError: the queue rejects the images, the timeout has passed, or an image failed.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    states = [Progress(request.seeds()[0]) for request in requests]
    deadline = time.monotonic() + timeout

    def update(state: Progress, changes: dict[str, Any]) -> None:
        for name, value in changes.items():
            setattr(state, name, value)
        changed.set()

    def update_soon(state: Progress, **changes: Any) -> None:
        """Schedule an update from the worker thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: no reader is left
            loop.call_soon_threadsafe(update, state, changes)

    tickets = batcher.submit(requests, [_callback(batcher.pipe, partial(update_soon, state)) for state in states])
    try:
        for ticket in tickets:
            ticket.done.add_done_callback(lambda _: update_soon(states[0]))  # only wakes the loop below
        while not all(ticket.done.done() for ticket in tickets):
            yield states
            changed.clear()
            await asyncio.sleep(_FRAME)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), _PULSE)
            if time.monotonic() > deadline:
                raise timed_out(timeout)
        for ticket in tickets:
            if error := asyncio.CancelledError() if ticket.done.cancelled() else ticket.done.exception():
                raise service_error(error)
        yield [ticket.done.result() for ticket in tickets]
    finally:
        batcher.drop(tickets)


def _callback(pipe: TextToImage, update: Callable[..., None]) -> StepCallback:
    count = PREVIEWS if PREVIEW_DECODER in pipe.package.components else DECODED_PREVIEWS
    previews = Previews(count, lambda _, pixels: update(preview=pixels))

    def callback(pipe: TextToImage, step: Step, row: int) -> None:
        update(step=step.index + 1, total=step.total)
        previews(pipe, step, row)

    return callback
