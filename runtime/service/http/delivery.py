"""From tickets to answers: waiting for pictures as long as somebody waits for them, and no longer than is allowed."""

import asyncio
import base64
import contextlib
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from PIL.Image import Image
from starlette.requests import Request as HTTPRequest
from starlette.types import Receive, Scope, Send

from ...errors import ArgumentError, Cancelled, SamplerError
from ...image.pixels import to_image
from ...request import Request
from ..errors import ServiceError, failed, invalid, timed_out, unavailable
from ..metrics import Figures
from ..queue.previews import Previews
from ..queue.ticket import Queue
from .schema import EncodedImage, Event

_PING_SECONDS = 15  # between signs of life in a stream, which proxies cut when there are none
_USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
"""What OpenAI's clients expect in the last event; nothing is charged here."""

_log = logging.getLogger(__name__)


class Gone(Exception):
    """The client went away."""


def service_error(error: BaseException) -> ServiceError:
    """What is said of an error in the making of a picture."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, ArgumentError | SamplerError):
        return invalid(str(error))
    if isinstance(error, Cancelled | asyncio.CancelledError):
        return unavailable("the service stopped", "stopping")
    _log.error("500: %s: %s", type(error).__name__, error)
    return failed()


async def images_of(
    connection: HTTPRequest, queue: Queue, requests: Sequence[Request], timeout: float
) -> list[EncodedImage]:
    """All pictures, when all are done; dropped when the client goes away or time is up.

    Raises:
        ServiceError: of the queue, of time, or of a picture that could not be made.
        Gone: there is nobody to answer.
    """
    tickets = queue.submit(requests, [None] * len(requests))
    made = asyncio.gather(*(asyncio.wrap_future(ticket.done) for ticket in tickets), return_exceptions=True)
    gone = asyncio.create_task(_disconnected(connection))
    awaited: set[asyncio.Future[Any]] = {made, gone}
    try:
        await asyncio.wait(awaited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if made.done():
            images = [_image(outcome) for outcome in made.result()]
            return [
                EncodedImage(b64_json=await asyncio.to_thread(encoded, image), seed=request.seeds()[0])
                for image, request in zip(images, requests, strict=True)
            ]
        raise Gone if gone.done() else timed_out(timeout)
    finally:
        queue.drop(tickets)
        gone.cancel()


class EventStream(StreamingResponse):
    """Previews and pictures as server-sent events, as they come; dropped as `pictures` does.

    Args:
        kind: image_generation or image_edit.
        queue, requests, timeout: as of `images_of`.
        figures: that are told of errors, which have no status once a stream has begun.
        previews: of each picture.
        facts: that all events tell.

    Raises:
        ServiceError: of the queue.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        kind: str,
        queue: Queue,
        requests: Sequence[Request],
        timeout: float,
        figures: Figures,
        *,
        previews: int,
        facts: Event,
    ) -> None:
        self._kind, self._queue, self._requests, self._figures, self._facts = kind, queue, requests, figures, facts
        self._timeout, self._deadline = timeout, time.monotonic() + timeout
        self._news: asyncio.Queue[tuple[int, int | None, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        watches = [Previews(previews, partial(self._tell, row)) if previews else None for row in range(len(requests))]
        self._tickets = queue.submit(requests, watches)
        for row, ticket in enumerate(self._tickets):
            ticket.done.add_done_callback(partial(self._tell_done, row))
        super().__init__(self._events(), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        try:
            await super().__call__(scope, receive, send)
        finally:  # also where nothing was ever sent
            self._queue.drop(self._tickets)

    def _tell(self, row: int, number: int | None, what: Any) -> None:
        """Called in the worker's thread: a preview by number, or with None the picture or what was in its way."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everything that would read it
            self._loop.call_soon_threadsafe(self._news.put_nowait, (row, number, what))

    def _tell_done(self, row: int, done: "Future[Image]") -> None:
        self._tell(row, None, asyncio.CancelledError() if done.cancelled() else done.exception() or done.result())

    async def _events(self) -> AsyncIterator[bytes]:
        missing = len(self._tickets)
        try:
            while missing:
                left = self._deadline - time.monotonic()
                try:
                    row, number, what = await asyncio.wait_for(self._news.get(), min(left, _PING_SECONDS))
                except TimeoutError:
                    if left <= _PING_SECONDS:
                        raise timed_out(self._timeout) from None
                    yield format_sse_event(comment="ping")
                    continue
                data: Event
                if number is None:
                    missing -= 1
                    data = {"type": f"{self._kind}.completed", "usage": _USAGE}
                    image = _image(what)
                else:
                    data = {"type": f"{self._kind}.partial_image", "partial_image_index": number}
                    image = to_image(what)
                data |= {"b64_json": await asyncio.to_thread(encoded, image), "index": row}
                yield _event({**data, **self._facts, "seed": self._requests[row].seeds()[0]})
        except Exception as error:
            refusal = service_error(error)
            self._figures.erred(refusal.status)
            yield _event({"type": "error", **refusal.body})


def encoded(image: Image) -> str:
    """A PNG in base64, with the settings of the picture if it has some."""
    file = io.BytesIO()
    image.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def _event(data: Event) -> bytes:
    return format_sse_event(event=data["type"], data_str=json.dumps(data))


async def _disconnected(connection: HTTPRequest) -> None:
    while (await connection.receive())["type"] != "http.disconnect":
        pass


def _image(outcome: Image | BaseException) -> Image:
    if isinstance(outcome, BaseException):
        raise service_error(outcome)
    return outcome
