"""HTTP basic authentication for browsers, which cannot send the API key as a bearer token."""

import base64

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CHALLENGE = 'Basic realm="Triptych: any name, and the API key as the password", charset="UTF-8"'


class PasswordAsKey:
    """Middleware that turns a password (RFC 7617) into a bearer token, and adds a challenge to 401 responses.

    Browsers also send the password with requests from pages of other sites. They send Origin with all requests that can
    change something, so Origin must be equal to Host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_challenge(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                MutableHeaders(scope=message)["WWW-Authenticate"] = _CHALLENGE
            await send(message)

        headers = MutableHeaders(scope={**scope, "headers": [*scope["headers"]]})
        origin, password = headers.get("origin"), _password(headers.get("authorization", ""))
        if password is not None:
            del headers["authorization"]
            if origin is None or origin.partition("://")[2] == headers.get("host"):
                headers["authorization"] = f"Bearer {password}"
        await self._app({**scope, "headers": headers.raw}, receive, send_with_challenge)


def _password(authorization: str) -> str | None:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(credentials, validate=True)
    except ValueError:
        return ""
    return decoded.partition(b":")[2].decode("latin-1")  # the encoding of headers here, which decodes any bytes
