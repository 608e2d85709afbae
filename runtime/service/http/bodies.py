"""Bodies of requests before validation: their media type, names of lists in forms, and the reason of a refusal."""

from collections.abc import Callable, Coroutine, Mapping
from email.message import Message
from typing import Any

from fastapi import Request, Response, params
from fastapi.routing import APIRoute
from starlette.datastructures import FormData, UploadFile

from ...errors import nearest
from ..errors import ServiceError, invalid
from .schema import ImageFields

_JSON, _FORM, _PLAIN_FORM = "application/json", "multipart/form-data", "application/x-www-form-urlencoded"
_FILES = ("image", "mask")
MOST_FILES = 3
"""Files of a form that are read: one more than there are fields of files, as each may need a file handle."""
_QUOTED = 40  # characters of a value or a name that an error quotes


class BodyRoute(APIRoute):
    """Route that refuses a body of another media type by name, and reads forms as `_FormRequest` does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler
        expected = _FORM if isinstance(self.body_field.field_info, params.Form) else _JSON

        async def handle(request: Request) -> Response:
            _check_type(request.headers.get("content-type"), expected)
            if expected == _FORM:
                request = _FormRequest(request.scope, request.receive)
                await request.form(max_files=MOST_FILES)
            return await handler(request)

        return handle


class _FormRequest(Request):
    """Request whose form may have `name[]`, as OpenAI's clients send lists, for `name`, and one file for each name."""

    _renamed: FormData | None = None

    async def form(self, **limits: Any) -> FormData:  # type: ignore[override]  # FastAPI awaits it
        """Form with the names of fields.

        Raises:
            ServiceError: several files have one name.
            HTTPException: the form is malformed.
        """
        if self._renamed is None:
            form = await super().form(**limits)
            fields = [(name.removesuffix("[]"), value) for name, value in form.multi_items()]
            files = [name for name, value in fields if isinstance(value, UploadFile)]
            for name in dict.fromkeys(files):
                if files.count(name) > 1:
                    await form.close()
                    raise invalid(f"{name[:_QUOTED]!r} has {files.count(name)} files; allowed: one", _plain(name))
            self._renamed = FormData(fields)
        return self._renamed


def refusal(error: Mapping[str, Any]) -> ServiceError:
    """400 in one line for an error of pydantic."""
    place, kind, value = error["loc"], error["type"], error["input"]
    if kind == "json_invalid":
        return invalid(f"the body is not JSON: {error['ctx']['error']} at character {place[-1]}")
    if len(place) < 2:
        return invalid(f"the body: {error['msg']}")
    name = str(place[1])  # further parts name the alternatives of a union type
    if kind == "extra_forbidden":
        return invalid(f"unknown field {name[:_QUOTED]!r}; {nearest(name, ImageFields.model_fields)}", _plain(name))
    if kind == "missing":
        return invalid(f"{name} is missing", name)
    if kind == "literal_error":
        reason = f"allowed: {error['ctx']['expected']}"
    elif name in _FILES:
        reason = f"allowed: a file, in a body of {_FORM}"
    else:
        reason = str(error["msg"])
    given = f"={_shown(value)}" if isinstance(value, str | int | float | None) else ""
    return invalid(f"{name}{given}; {reason}", name)


def _check_type(content_type: str | None, expected: str) -> None:
    """Check the media type of a body.

    Raises:
        ServiceError: it is another one, or missing.
    """
    message = Message()
    message["content-type"] = content_type or ""
    kind = message.get_content_type()
    known = kind in (_FORM, _PLAIN_FORM) if expected == _FORM else kind == _JSON or kind.endswith("+json")
    if content_type is None or not known:
        sent = "no Content-Type" if content_type is None else f"Content-Type {content_type[:_QUOTED]}"
        advice = f"; curl: -H 'Content-Type: {_JSON}'" if expected == _JSON else "; curl: -F name=value"
        raise invalid(f"the body has {sent}; allowed: {expected}{advice}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _QUOTED else f"{shown[:_QUOTED]}..."


def _plain(name: str) -> str:
    """A name that a client has made up, as text that JSON in UTF-8 can hold."""
    return name[:_QUOTED].encode(errors="replace").decode()
