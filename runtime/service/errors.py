"""What the service refuses, in the shape that OpenAI's API gives errors."""

import math
from collections.abc import Mapping
from typing import Any


class ServiceError(Exception):
    """An answer that is no picture.

    Attributes:
        status: of HTTP.
        body: {"error": {"message", "type", "param", "code"}}.
        headers: beside those of any answer.
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


def invalid(message: str, param: str | None = None) -> ServiceError:
    """400: the request cannot be done as it is."""
    return ServiceError(400, message, code="invalid_value", param=param)


def too_large(given: str, allowed: int) -> ServiceError:
    """413: more bytes than are taken."""
    return ServiceError(413, f"the body has {given}; allowed: {allowed} bytes", code="body_too_large")


def check_room(count: int, waiting: int, most: int, seconds: float) -> None:
    """Whether pictures may wait, too.

    Args:
        count: of them.
        waiting: that wait already.
        most: that may wait.
        seconds: that each takes, for when to come back.

    Raises:
        ServiceError: more than ever may (400), or more than now (429).
    """
    if count > most:
        raise invalid(f"n={count}; allowed: {most}, which is as many as may wait", "n")
    if waiting + count > most:
        after = max(1, math.ceil(waiting * seconds))
        message = f"{waiting} pictures are waiting, of {most} that may; try again in {after} s"
        raise ServiceError(429, message, code="queue_full", headers={"Retry-After": str(after)})


def unavailable(message: str, code: str, *, seconds: int = 1) -> ServiceError:
    """503: not now."""
    return ServiceError(503, message, code=code, headers={"Retry-After": str(seconds)})


def timed_out(seconds: float) -> ServiceError:
    """503: it took too long; clients of OpenAI's API that try again by themselves are told not to."""
    message = f"the request took longer than {seconds:g} s, which is all it may"
    return ServiceError(503, message, code="timeout", headers={"x-should-retry": "false"})


def failed() -> ServiceError:
    """500: nothing is said of what went wrong inside; the log has it."""
    return ServiceError(500, "the picture could not be made; the log of the service says why", code="internal_error")


def _type_of(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
