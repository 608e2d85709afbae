"""Answers with images: wait for them until the client disconnects or the time limit is reached."""

import asyncio
import base64
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from starlette.requests import Request as HTTPRequest

from ...errors import ArgumentError, Cancelled, SamplerError
from ...request import Request
from ..errors import ServiceError, failed, invalid, timed_out, unavailable
from ..queue.previews import Previews
from ..queue.ticket import Queue, Ticket
from .schema import EncodedImage, LinkedImage, OutputFormat

Deliver = Callable[[bytes, int], EncodedImage | LinkedImage]
"""Gives what an answer has for the file of an image and its seed."""

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


@dataclass(frozen=True)
class Job:
    """The images of one HTTP request.

    Attributes:
        queue: of the model.
        requests: one for each image.
        upscale: factor of a second pass, or None.
        timeout: seconds until the images are cancelled.
    """

    queue: Queue
    requests: Sequence[Request]
    upscale: float | None
    timeout: float

    def submit(self, callbacks: Sequence[Previews | None]) -> list[Ticket]:
        """Add the images to the queue, see `Queue.submit`."""
        return self.queue.submit(self.requests, callbacks, self.upscale)


async def images_of(
    connection: HTTPRequest, job: Job, encode: Callable[[Image], bytes], deliver: Deliver
) -> list[EncodedImage | LinkedImage]:
    """Wait for all images of a request; cancel them if the client disconnects or the time limit is reached.

    `encode` gives the file of an image, see `encode_image`.

    Raises:
        ServiceError: the queue rejects the request, it times out, or an image fails.
        ClientDisconnected: the client closed the connection.
    """
    images = [image_of(outcome) for outcome in await outcomes_of(connection, job)]
    return [
        deliver(await asyncio.to_thread(encode, image), request.seeds()[0])
        for image, request in zip(images, job.requests, strict=True)
    ]


async def outcomes_of(connection: HTTPRequest, job: Job) -> list[Image | BaseException]:
    """The image or the error of each image of a request, see `images_of`."""
    tickets = job.submit([None] * len(job.requests))
    results = asyncio.gather(*(asyncio.wrap_future(ticket.done) for ticket in tickets), return_exceptions=True)
    disconnect = asyncio.create_task(_disconnected(connection))
    awaited: set[asyncio.Future[Any]] = {results, disconnect}
    try:
        await asyncio.wait(awaited, timeout=job.timeout, return_when=asyncio.FIRST_COMPLETED)
        if results.done():
            outcomes: list[Image | BaseException] = results.result()
            return outcomes
        raise ClientDisconnected if disconnect.done() else timed_out(job.timeout)
    finally:
        job.queue.drop(tickets)
        disconnect.cancel()


def encode_image(image: Image, output_format: OutputFormat, quality: int) -> bytes:
    """Encode an image as a file; a PNG with the image's settings if it has any.

    `quality` is that of JPEG and WebP, 0 to 100.
    """
    file = io.BytesIO()
    options = {} if output_format == "png" else {"quality": quality}
    image.save(file, format=output_format, **options)
    return file.getvalue()


def in_base64(content: bytes, seed: int) -> EncodedImage:
    """Deliver the file of an image in the answer itself."""
    return EncodedImage(b64_json=base64.b64encode(content).decode(), seed=seed)


async def _disconnected(connection: HTTPRequest) -> None:
    while (await connection.receive())["type"] != "http.disconnect":
        pass


def was_cancelled(outcome: Image | BaseException) -> bool:
    """Whether an image was cancelled before it was finished."""
    return isinstance(outcome, Cancelled | asyncio.CancelledError)


def image_of(outcome: Image | BaseException) -> Image:
    """The image of an outcome; raises its error as a `ServiceError`."""
    if isinstance(outcome, BaseException):
        raise service_error(outcome)
    return outcome
