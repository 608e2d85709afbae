"""Responses from tickets: wait for images until the client disconnects or the time limit is reached."""

import asyncio
import base64
import contextlib
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
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
from .schema import EncodedImage, Event, OutputFormat

_PING_SECONDS = 15  # between keep-alive comments in a stream, because proxies close idle connections
_USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
"""Token counts that OpenAI's clients expect in the last event; always 0 here."""

_log = logging.getLogger(__name__)


class ClientDisconnected(Exception):
    """The client closed the connection."""


def service_error(error: BaseException) -> ServiceError:
    """Convert an error of image generation into an error response."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, ArgumentError | SamplerError):
        return invalid(str(error))
    if isinstance(error, Cancelled | asyncio.CancelledError):
        return unavailable("the service stopped", "stopping")
    _log.error("500: %s: %s", type(error).__name__, error)
    return failed()


async def images_of(
    connection: HTTPRequest, queue: Queue, requests: Sequence[Request], timeout: float, encode: Callable[[Image], str]
) -> list[EncodedImage]:
    """Wait for all images of a request; cancel them if the client disconnects or the time limit is reached.

    `encode` gives the text of an image, see `encode_image`.

    Raises:
        ServiceError: the queue rejects the request, it times out, or an image fails.
        ClientDisconnected: the client closed the connection.
    """
    tickets = queue.submit(requests, [None] * len(requests))
    results = asyncio.gather(*(asyncio.wrap_future(ticket.done) for ticket in tickets), return_exceptions=True)
    disconnect = asyncio.create_task(_disconnected(connection))
    awaited: set[asyncio.Future[Any]] = {results, disconnect}
    try:
        await asyncio.wait(awaited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if results.done():
            images = [_image(outcome) for outcome in results.result()]
            return [
                EncodedImage(b64_json=await asyncio.to_thread(encode, image), seed=request.seeds()[0])
                for image, request in zip(images, requests, strict=True)
            ]
        raise ClientDisconnected if disconnect.done() else timed_out(timeout)
    finally:
        queue.drop(tickets)
        disconnect.cancel()


class EventStream(StreamingResponse):
    """Previews and images as server-sent events; cancels the images as `images_of` does.

    Args:
        kind: image_generation or image_edit.
        queue, requests, timeout: see `images_of`.
        figures: metrics that count errors, because a started stream has no error status.
        encode: gives the text of an image or preview, see `encode_image`.
        previews: number of previews of each image.
        fields: constant fields of all events.

    Raises:
        ServiceError: the queue rejects the request.
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
        encode: Callable[[Image], str],
        previews: int,
        fields: Event,
    ) -> None:
        self._kind, self._queue, self._requests, self._figures, self._fields = kind, queue, requests, figures, fields
        self._encode = encode
        self._timeout, self._deadline = timeout, time.monotonic() + timeout
        self._updates: asyncio.Queue[tuple[int, int | None, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        watches = [Previews(previews, partial(self._post, row)) if previews else None for row in range(len(requests))]
        self._tickets = queue.submit(requests, watches)
        for row, ticket in enumerate(self._tickets):
            ticket.done.add_done_callback(partial(self._post_result, row))
        super().__init__(self._events(), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        try:
            await super().__call__(scope, receive, send)
        finally:  # also if nothing was sent
            self._queue.drop(self._tickets)

    def _post(self, row: int, number: int | None, value: Any) -> None:
        """Post a numbered preview, or with None the image or its error; called in the worker's thread."""
        with contextlib.suppress(RuntimeError):  # the event loop is closed, so nothing reads the update
            self._loop.call_soon_threadsafe(self._updates.put_nowait, (row, number, value))

    def _post_result(self, row: int, done: "Future[Image]") -> None:
        self._post(row, None, asyncio.CancelledError() if done.cancelled() else done.exception() or done.result())

    async def _events(self) -> AsyncIterator[bytes]:
        pending = len(self._tickets)
        try:
            while pending:
                remaining = self._deadline - time.monotonic()
                try:
                    row, number, value = await asyncio.wait_for(self._updates.get(), min(remaining, _PING_SECONDS))
                except TimeoutError:
                    if remaining <= _PING_SECONDS:
                        raise timed_out(self._timeout) from None
                    yield format_sse_event(comment="ping")
                    continue
                data: Event
                if number is None:
                    pending -= 1
                    data = {"type": f"{self._kind}.completed", "usage": _USAGE}
                    image = _image(value)
                else:
                    data = {"type": f"{self._kind}.partial_image", "partial_image_index": number}
                    image = to_image(value)
                data |= {"b64_json": await asyncio.to_thread(self._encode, image), "index": row}
                yield _event({**data, **self._fields, "seed": self._requests[row].seeds()[0]})
        except Exception as error:
            response = service_error(error)
            self._figures.erred(response.status)
            yield _event({"type": "error", **response.body})


def encode_image(image: Image, output_format: OutputFormat, quality: int) -> str:
    """Encode an image as a file in base64; a PNG with the image's settings if it has any.

    `quality` is that of JPEG and WebP, 0 to 100.
    """
    file = io.BytesIO()
    options = {} if output_format == "png" else {"quality": quality}
    image.save(file, format=output_format, **options)
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
