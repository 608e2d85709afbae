"""Server-sent events of a request: previews, progress and images.

Updates are kept as the latest of each image, so that a client that reads slowly, or never, costs no more memory.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from PIL.Image import Image
from starlette.types import Receive, Scope, Send

from ...image.pixels import to_image
from ..errors import timed_out
from ..metrics import Figures
from ..queue.previews import Previews
from ..queue.progress import Progress
from .delivery import Deliver, Job, image_of, in_base64, service_error
from .schema import Event

_PING_SECONDS = 15.0  # between keep-alive comments in a stream, because proxies close idle connections
_PROGRESS_SECONDS = 0.1  # between events of the progress of an image
_WAITING_PREVIEWS = 3  # of an image, for a client that reads slowly: as many as OpenAI's clients ask for
_READING_SECONDS = 5.0  # after the time limit, for a client to read what was sent
_USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
"""Token counts that OpenAI's clients expect in the last event; always 0 here."""


@dataclass(eq=False)
class _Updates:
    """Unsent updates of an image: its last previews, and the image or its error; and the progress that was sent."""

    previews: deque[tuple[int, np.ndarray]] = field(default_factory=lambda: deque(maxlen=_WAITING_PREVIEWS))
    outcome: Image | BaseException | None = None
    progress: Progress | None = None


class EventStream(StreamingResponse):
    """Previews, progress and images as server-sent events; cancels the images as `images_of` does.

    Args:
        kind: image_generation or image_edit.
        job: the images.
        figures: metrics that count errors, because a started stream has no error status.
        encode: gives the file of an image or preview, see `encode_image`.
        deliver: gives the fields of a finished image; previews are in base64.
        previews: number of previews of each image.
        progress: send the progress of each image.
        fields: constant fields of events with images.

    Raises:
        ServiceError: the queue rejects the request.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        kind: str,
        job: Job,
        figures: Figures,
        *,
        encode: Callable[[Image], bytes],
        deliver: Deliver,
        previews: int,
        progress: bool,
        fields: Event,
    ) -> None:
        self._kind, self._job, self._figures, self._encode, self._fields = kind, job, figures, encode, fields
        self._deliver = deliver
        self._seeds = [request.seeds()[0] for request in job.requests]
        self._deadline = time.monotonic() + job.timeout
        self._updates, self._open = [_Updates() for _ in self._seeds], [*range(len(self._seeds))]
        self._changed, self._loop = asyncio.Event(), asyncio.get_running_loop()
        watches = [Previews(previews, partial(self._post, row)) if previews else None for row in self._open]
        self._tickets = job.submit(watches)
        self._progress, self._due = progress, 0.0
        for row, ticket in enumerate(self._tickets):
            ticket.done.add_done_callback(partial(self._post_outcome, row))
        super().__init__(self._events(), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; a client that does not read is left alone after the time limit."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._deadline + _READING_SECONDS - time.monotonic()):
                    await super().__call__(scope, receive, send)
        finally:  # also if nothing was sent
            self._job.queue.drop(self._tickets)
            self._tickets = []  # the images are freed now: tickets, response and its generator refer to each other
            for updates in self._updates:
                updates.previews.clear()
                updates.outcome = None

    def _post(self, row: int, number: int, pixels: np.ndarray) -> None:
        """Keep a preview; called in the worker's thread."""
        self._updates[row].previews.append((number, pixels))
        self._wake()

    def _post_outcome(self, row: int, done: "Future[Image]") -> None:
        """Keep the image or its error; called in the worker's thread."""
        outcome = asyncio.CancelledError() if done.cancelled() else done.exception() or done.result()
        self._updates[row].outcome = outcome
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed, so nothing reads the update
            self._loop.call_soon_threadsafe(self._changed.set)

    async def _events(self) -> AsyncIterator[bytes]:
        """The stream: all that is new, again and again until each image is sent."""
        sent = time.monotonic()
        try:
            while self._open:
                self._changed.clear()
                async for event in self._new():
                    yield _written(event)
                    sent = time.monotonic()
                if self._open and await self._quiet(until=sent + _PING_SECONDS):
                    yield format_sse_event(comment="ping")
                    sent = time.monotonic()
        except Exception as error:
            response = service_error(error)
            self._figures.erred(response.status)
            yield _written({"type": "error", **response.body})

    async def _quiet(self, until: float) -> bool:
        """Wait for an update, at most until a time; whether it is reached.

        Raises:
            ServiceError: the request timed out.
        """
        ends = [until, self._deadline, *([time.monotonic() + _PROGRESS_SECONDS] if self._progress else [])]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), min(ends) - time.monotonic())
        now = time.monotonic()
        if now >= self._deadline and not self._changed.is_set():
            raise timed_out(self._job.timeout)
        return now >= until

    async def _new(self) -> AsyncIterator[Event]:
        """Events of all updates since the last time."""
        if self._progress and time.monotonic() >= self._due:
            self._due = time.monotonic() + _PROGRESS_SECONDS
            for row in self._open:
                progress = self._job.queue.progress(self._tickets[row])
                if progress != self._updates[row].progress:
                    self._updates[row].progress = progress
                    named = {"type": f"{self._kind}.progress", "index": row, "seed": self._seeds[row]}
                    yield named | asdict(progress)
        for row in [*self._open]:
            outcome = self._updates[row].outcome  # read before the previews, which come before it
            while self._updates[row].previews:
                number, pixels = self._updates[row].previews.popleft()
                data = {"type": f"{self._kind}.partial_image", "partial_image_index": number}
                yield data | await self._file(row, to_image(pixels), in_base64)
            if outcome is not None:
                self._open.remove(row)
                yield {"type": f"{self._kind}.completed", "usage": _USAGE} | await self._file(
                    row, image_of(outcome), self._deliver
                )

    async def _file(self, row: int, image: Image, deliver: Deliver) -> Event:
        content = await asyncio.to_thread(self._encode, image)
        delivered = deliver(content, self._seeds[row]).model_dump(exclude={"seed"})
        return {**delivered, "index": row, **self._fields, "seed": self._seeds[row]}


def _written(event: Event) -> bytes:
    return format_sse_event(event=event["type"], data_str=json.dumps(event))
