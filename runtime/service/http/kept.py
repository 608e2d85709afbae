"""Images that are kept for a time, at URLs that cannot be guessed; in memory, so nothing is left after the end."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from fastapi import APIRouter, Request, Response

from ..errors import ServiceError, invalid
from ..limits import KEPT_BYTES
from .schema import LinkedImage, OutputFormat

PREFIX = "/v1/images/files/"

_NAME_BYTES = 16  # random ones: the name is the secret that gives access
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image",
        "content": {f"image/{kind}": {"schema": {"type": "string"}} for kind in get_args(OutputFormat)},
    }
}


@dataclass(frozen=True)
class _Kept:
    """The file of an image, its media type, and the end of its time, monotonic."""

    content: bytes
    media_type: str
    until: float


class KeptImages:
    """Files of images by name, for a time and within a limit of bytes; used in the event loop only.

    Args:
        seconds: that an image is kept.
        limit: bytes of all images together; the oldest are removed before their time. The newest is always kept.
    """

    def __init__(self, seconds: float, limit: int = KEPT_BYTES) -> None:
        self._seconds, self._limit = seconds, limit
        self._images: dict[str, _Kept] = {}  # the oldest first
        self._bytes = 0

    def add(self, content: bytes, output_format: OutputFormat) -> str:
        """Keep the file of an image, and return its name."""
        name = f"{secrets.token_hex(_NAME_BYTES)}.{output_format}"
        self._images[name] = _Kept(content, f"image/{output_format}", time.monotonic() + self._seconds)
        self._bytes += len(content)
        self._remove()
        asyncio.get_running_loop().call_later(self._seconds, self._remove)  # gives the memory back in time
        return name

    def response(self, name: str) -> Response:
        """The file of a name.

        Raises:
            ServiceError: there is none (404).
        """
        self._remove()
        if name not in self._images:
            message = f"no such image; images are kept for {self._seconds:g} s, or less if there are many"
            raise ServiceError(404, message, code="image_not_found", param="name")
        image = self._images[name]
        age = int(image.until - time.monotonic())
        headers = {"Cache-Control": f"private, max-age={age}", "X-Content-Type-Options": "nosniff"}
        return Response(image.content, headers=headers, media_type=image.media_type)

    def _remove(self) -> None:
        """Remove the images whose time is over, and the oldest ones beyond the limit."""
        now = time.monotonic()
        for name, image in [*self._images.items()]:
            if image.until > now and (self._bytes <= self._limit or len(self._images) == 1):
                break
            del self._images[name]
            self._bytes -= len(image.content)


def link_to(
    kept: KeptImages | None, connection: Request, output_format: OutputFormat
) -> Callable[[bytes, int], LinkedImage]:
    """A function that keeps the file of an image, and gives its URL and seed.

    The URL has the address that the client has used.

    Raises:
        ServiceError: the service keeps no images (400).
    """
    if kept is None:
        message = "response_format='url'; allowed: 'b64_json', or 'url' where triptych serve has --keep-images"
        raise invalid(message, "response_format")
    host = connection.headers.get("host") or "{}:{}".format(*connection.scope["server"])

    def deliver(content: bytes, seed: int) -> LinkedImage:
        url = f"{connection.scope['scheme']}://{host}{PREFIX}{kept.add(content, output_format)}"
        return LinkedImage(url=url, seed=seed)

    return deliver


def kept_router(kept: KeptImages) -> APIRouter:
    """Route of the images that are kept; it needs no key."""
    router = APIRouter()

    @router.get(PREFIX + "{name}", response_class=Response, responses=_FILE)
    async def image_file(name: str) -> Response:
        """Get an image that was answered as a URL, for as long as the service keeps it."""
        return kept.response(name)

    return router
