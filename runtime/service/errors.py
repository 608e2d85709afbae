"""Errors of the service, in the format of OpenAI's API."""

import math
from collections.abc import Mapping
from typing import Any

SDAPI_PREFIXES = ("/sdapi/", "/internal/", "/queue/")
"""Paths of the API of Stable Diffusion web UI."""

_SECONDS = 1.0  # of an image, as long as none is measured


class ServiceError(Exception):
    """An error response.

    Attributes:
        status: HTTP status code.
        body: {"error": {"message", "type", "param", "code"}}.
        headers: additional response headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": _type_of(status), "param": param, "code": code}
        }
        self.headers = dict(headers or {})

    def body_for(self, path: str) -> dict[str, Any]:
        """The body of a response to a request for a path; clients of Stable Diffusion web UI read another format."""
        if not path.startswith(SDAPI_PREFIXES):
            return self.body
        message = str(self)
        return {"error": self.body["error"]["type"], "detail": message, "body": "", "errors": message}


def invalid(message: str, param: str | None = None) -> ServiceError:
    """400: the request has an invalid value."""
    return ServiceError(400, message, code="invalid_value", param=param)


def too_large(size: str, allowed: int) -> ServiceError:
    """413: the body exceeds the limit."""
    return ServiceError(413, f"the body has {size}; allowed: {allowed} bytes", code="body_too_large")


def check_room(count: int, waiting: int, capacity: int, seconds: float | None) -> None:
    """Check that the queue has room for more images.

    Args:
        count: images to add.
        waiting: images in the queue.
        capacity: images that the queue can hold.
        seconds: per image, for Retry-After; None if none is measured yet.

    Raises:
        ServiceError: more images than the queue can ever hold (400), or than it has room for now (429).
    """
    if count > capacity:
        raise invalid(f"n={count}; allowed: {capacity}, the capacity of the queue", "n")
    if waiting + count > capacity:
        after = max(1, math.ceil(waiting * (_SECONDS if seconds is None else seconds)))
        message = f"the queue is full: {waiting} of {capacity} images are waiting; retry in {after} s"
        raise ServiceError(429, message, code="queue_full", headers={"Retry-After": str(after)})


def unavailable(message: str, code: str, *, seconds: int = 1) -> ServiceError:
    """503: the service cannot accept the request now."""
    return ServiceError(503, message, code=code, headers={"Retry-After": str(seconds)})


def timed_out(seconds: float) -> ServiceError:
    """503: the request timed out; x-should-retry keeps OpenAI's client from retrying."""
    message = f"the request took longer than the limit of {seconds:g} s"
    return ServiceError(503, message, code="timeout", headers={"x-should-retry": "false"})


def failed() -> ServiceError:
    """500: an internal error; only the log has the details."""
    return ServiceError(
        500, "the request failed with an internal error; see the log of the service", code="internal_error"
    )


def _type_of(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
