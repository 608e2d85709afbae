"""Who may ask, and how much they may send: looked at before anything of the body is read."""

import asyncio
import contextlib
import hmac
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ServiceError, too_large
from ..limits import JSON_BYTES, Limits
from ..metrics import Figures
from ..options import is_local

OPEN = ("/healthz", "/readyz", "/docs", "/openapi.json")
"""Paths that need no key: they say nothing of what is asked for."""

DOCS_FILES = "/docs-files"
"""Script and style of /docs, which come from here, not from the internet; they need no key either."""

FORMS = ("/v1/images/edits", "/gradio_api/upload", "/gradio_api/component_server")
"""Paths that take forms, with pictures in them, the API's and the page's; bodies of others are small."""

_CLOSE = {"Connection": "close"}  # of an answer before the body was read
_LINGER_SECONDS = 2.0  # that what is left of it is read


class Guard:
    """Around the application: key, origin, size and time of what comes in; a count of errors that go out.

    Without a key, only a person at this machine is meant to ask, but pages in that person's browser can, too: by a name
    of their own that leads here, or by a form that is sent here. So Host must be this machine's, unless others are
    invited, and Origin, which browsers send along, must be Host.

    Args:
        app: what is guarded.
        limits: of bytes and time.
        figures: that count errors.
        key: that callers must have, None if they need none.
        local: whether only this machine may call.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, figures: Figures, key: str | None, local: bool) -> None:
        self._app, self._limits, self._figures, self._local = app, limits, figures, local
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        closing = False

        async def counted(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start":
                closing = Headers(raw=message["headers"]).get("connection") == "close"
                if message["status"] >= 400:
                    self._figures.erred(message["status"])
            elif closing and not message.get("more_body"):
                await send({**message, "more_body": True})
                await _read_on(receive)
                message = {"type": "http.response.body"}
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check_caller(scope, headers)
            body = _Body(receive, self._limits, scope["path"], headers)
        except ServiceError as refusal:
            answer = JSONResponse(refusal.body, refusal.status, headers={**refusal.headers, **_CLOSE})
            await answer(scope, receive, counted)
            return
        try:
            await self._app(scope, body, counted)
        except Exception:  # answered further out
            self._figures.erred(500)
            raise

    def _check_caller(self, scope: Scope, headers: Headers) -> None:
        if self._key is not None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            # compared whatever the scheme, and in a time that does not tell how much of it is right
            same = hmac.compare_digest(given.strip().encode("latin-1"), self._key)
            path = scope["path"]
            if not (path in OPEN or path.startswith(f"{DOCS_FILES}/")) and not (same and scheme.lower() == "bearer"):
                raise ServiceError(
                    401,
                    "no key, or a wrong one; give the service's as Authorization: Bearer KEY",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            return
        host, origin = headers.get("host", ""), headers.get("origin")
        caller, _ = scope.get("client") or ("", 0)
        if self._local and not (is_local(_name_in(f"//{host}")) and is_local(caller)):
            raise ServiceError(
                403, "this service is for this machine; ask it as localhost or 127.0.0.1", code="wrong_host"
            )
        if origin is not None and origin.partition("://")[2] != host:
            raise ServiceError(403, "pages of other sites may not ask this service", code="wrong_origin")


class _Body:
    """The body as it comes, as long as it is small enough and in time; takes the place of ASGI's `receive`."""

    def __init__(self, receive: Receive, limits: Limits, path: str, headers: Headers) -> None:
        self._receive, self._timeout = receive, limits.timeout
        self._most = limits.body if path in FORMS else JSON_BYTES
        self._bytes, self._complete = 0, False
        self._deadline = asyncio.get_running_loop().time() + limits.timeout
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._most:
            raise too_large(f"{declared} bytes", self._most)

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, f"the body took longer than {self._timeout:g} s", _CLOSE) from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._most:
            refusal = too_large("more bytes", self._most)
            raise HTTPException(refusal.status, str(refusal), _CLOSE)
        self._complete = not message.get("more_body", False)
        return message


async def _read_on(receive: Receive) -> None:
    """Read for a little what nobody wants: who is still sending gets the answer then, not a broken connection."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass


def _name_in(url: str) -> str:
    """The host's name or address, "" where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
