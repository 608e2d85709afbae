"""Routes of the page's files, which are read once and are the only ones that a request can name."""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response

from ..errors import ServiceError

PREFIX = "/page/"
INDEX = "index.html"

_TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-cache",  # asks each time, and is answered 304 without a body
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_SAME: dict[int | str, dict[str, Any]] = {304: {"description": "The file that the client has is current"}}


@dataclass(frozen=True)
class File:
    """A file of the page: content, the same compressed by gzip, media type, and a tag of the content."""

    content: bytes
    compressed: bytes
    media_type: str
    tag: str


def page_files() -> dict[str, File]:
    """Path below `PREFIX` -> file."""
    found = {}
    for path, entry in _walk(files(__package__) / "static", ""):
        kind = _TYPES.get(path.rpartition(".")[2])
        if kind is not None:
            content = entry.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path] = File(content, gzip.compress(content, mtime=0), f"{kind}; charset=utf-8", tag)
    return found


def page_router() -> APIRouter:
    """Routes `/` and those below `PREFIX`."""
    router, served = APIRouter(tags=["page"]), page_files()
    text_header = Annotated[str | None, Header()]

    @router.get("/", response_class=Response, responses=_described("html") | _SAME)
    async def index(if_none_match: text_header = None, accept_encoding: text_header = None) -> Response:
        """Get the page, a client of the other endpoints."""
        return _response(served[INDEX], if_none_match, accept_encoding)

    @router.get(PREFIX + "{path:path}", response_class=Response, responses=_described(*_TYPES) | _SAME)
    async def file(
        path: Annotated[str, Path()], if_none_match: text_header = None, accept_encoding: text_header = None
    ) -> Response:
        """Get a file of the page."""
        if path not in served:
            raise ServiceError(404, "the page has no such file", code="not_found")
        return _response(served[path], if_none_match, accept_encoding)

    return router


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry


def _described(*kinds: str) -> dict[int | str, dict[str, Any]]:
    content = {_TYPES[kind]: {"schema": {"type": "string"}} for kind in kinds}
    return {200: {"description": "The file", "content": content}}


def _response(file: File, known: str | None, encodings: str | None) -> Response:
    headers = _HEADERS | {"ETag": file.tag, "Vary": "Accept-Encoding"}
    if known is not None and file.tag in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(status_code=304, headers=headers)
    if "gzip" in (each.partition(";")[0].strip() for each in (encodings or "").split(",")):
        return Response(file.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)
