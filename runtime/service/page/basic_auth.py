"""What browsers send in place of bearer tokens: a name and a password, which they ask their user for."""

import base64

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ASK = 'Basic realm="Triptych: any name, and the API key as the password", charset="UTF-8"'


class PasswordAsKey:
    """Around a guarded application: a password (RFC 7617) goes in as the key, and 401 comes out as asking for one.

    Browsers send a password with whatever page asks for something here, those of other sites too; so Origin, which
    they send with everything that is more than looking, must be Host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def asking(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                MutableHeaders(scope=message)["WWW-Authenticate"] = _ASK
            await send(message)

        headers = MutableHeaders(scope={**scope, "headers": [*scope["headers"]]})
        origin, password = headers.get("origin"), _password(headers.get("authorization", ""))
        if password is not None:
            del headers["authorization"]
            if origin is None or origin.partition("://")[2] == headers.get("host"):
                headers["authorization"] = f"Bearer {password}"
        await self._app({**scope, "headers": headers.raw}, receive, asking)


def _password(authorization: str) -> str | None:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        sent = base64.b64decode(credentials, validate=True)
    except ValueError:
        return ""
    return sent.partition(b":")[2].decode("latin-1")  # as headers are read here, whatever the bytes are
