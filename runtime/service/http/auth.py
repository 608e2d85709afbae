"""Authentication and request limits, checked before the body is read."""

import asyncio
import base64
import contextlib
import hmac
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import SDAPI_PREFIXES, ServiceError, too_large
from ..limits import JSON_BYTES, Limits
from ..metrics import Figures
from ..options import is_local
from ..page.files import PREFIX
from .kept import PREFIX as KEPT_PREFIX

DOCS_FILES = "/docs-files"
"""Path of the script and style of /docs, served without access to the internet."""

PUBLIC_PATHS = ("/", "/healthz", "/readyz", "/docs", "/openapi.json")
PUBLIC_PREFIXES = (f"{DOCS_FILES}/", PREFIX, KEPT_PREFIX)
"""Paths that need no key: they reveal nothing of the requests, or, of a kept image, only to who knows its name.

The page asks for the key, and sends it to the API."""

IMAGE_PATHS = ("/v1/images/edits", "/sdapi/v1/img2img", "/sdapi/v1/png-info")
"""Paths that accept images, in forms or JSON; `JSON_BYTES` limits the bodies of all others."""

_CLOSE = {"Connection": "close"}  # for responses that are sent before the body is read
_DRAIN_SECONDS = 2.0  # for reading the rest of the body after such a response


class Guard:
    """ASGI middleware: checks key, origin, body size and upload time of requests, and counts error responses.

    Without a key, the service is for users of this machine, but web pages in their browser can send requests, too: from
    a domain that resolves to this machine (DNS rebinding), or with a form (CSRF). So Host must be a loopback address or
    localhost, unless the service is open to other machines, and Origin, which browsers send, must be equal to Host.

    Args:
        app: the application to protect.
        limits: of body size and time.
        figures: metrics that count errors.
        key: key that clients must send; None if none is required.
        local: without a key, accept requests from this machine only.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, figures: Figures, key: str | None, local: bool) -> None:
        self._app, self._limits, self._figures, self._local = app, limits, figures, local
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        closing = False

        async def send_counted(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start":
                closing = Headers(raw=message["headers"]).get("connection") == "close"
                if message["status"] >= 400:
                    self._figures.erred(message["status"])
            elif closing and not message.get("more_body"):
                await send({**message, "more_body": True})
                await _drain(receive)
                message = {"type": "http.response.body"}
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check_client(scope, headers)
            body = _Body(receive, self._limits, scope["path"], headers)
        except ServiceError as error:
            response = JSONResponse(error.body_for(scope["path"]), error.status, headers={**error.headers, **_CLOSE})
            await response(scope, receive, send_counted)
            return
        try:
            await self._app(scope, body, send_counted)
        except Exception:  # an outer middleware sends the response
            self._figures.erred(500)
            raise

    def _check_client(self, scope: Scope, headers: Headers) -> None:
        if self._key is not None:
            path = scope["path"]
            scheme, _, token = headers.get("authorization", "").partition(" ")
            if scheme.lower() == "basic" and path.startswith(SDAPI_PREFIXES) and _is_own(headers):
                scheme, token = "bearer", _password(token)
            # constant time, and compared for every scheme, so that the response time reveals nothing of the key
            correct = hmac.compare_digest(token.strip().encode("latin-1"), self._key)
            if not (path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES)) and not (
                correct and scheme.lower() == "bearer"
            ):
                raise ServiceError(
                    401,
                    "missing or wrong API key; send the key of the service as Authorization: Bearer KEY",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            return
        host = headers.get("host", "")
        client, _ = scope.get("client") or ("", 0)
        if self._local and not (is_local(_host_of(f"//{host}")) and is_local(client)):
            raise ServiceError(
                403,
                "this service accepts requests from this machine only; use localhost or 127.0.0.1",
                code="wrong_host",
            )
        if not _is_own(headers):
            raise ServiceError(
                403, "this service does not accept requests from pages of other sites", code="wrong_origin"
            )


def _is_own(headers: Headers) -> bool:
    """Whether a request comes from no page, or from a page of this service."""
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host", "")


def _password(token: str) -> str:
    """Password of basic authentication, for clients that send no bearer token; browsers do not show a prompt for it."""
    try:
        return base64.b64decode(token.strip(), validate=True).decode("latin-1").partition(":")[2]
    except ValueError:
        return ""


class _Body:
    """Body with limits of size and time, in place of ASGI's `receive`."""

    def __init__(self, receive: Receive, limits: Limits, path: str, headers: Headers) -> None:
        self._receive, self._timeout = receive, limits.timeout
        self._max_bytes = limits.body if path in IMAGE_PATHS else JSON_BYTES
        self._bytes, self._complete = 0, False
        self._deadline = asyncio.get_running_loop().time() + limits.timeout
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise too_large(f"{declared} bytes", self._max_bytes)

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, f"the body took longer than {self._timeout:g} s", _CLOSE) from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._max_bytes:
            error = too_large("more bytes", self._max_bytes)
            raise HTTPException(error.status, str(error), _CLOSE)
        self._complete = not message.get("more_body", False)
        return message


async def _drain(receive: Receive) -> None:
    """Discard the rest of the body for a short time, so that a client that is still sending receives the response."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass


def _host_of(url: str) -> str:
    """Name or address of the host in a URL, "" if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
