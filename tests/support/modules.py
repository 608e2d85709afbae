"""Modules of the page, each alone in a browser: an empty page that imports them under the page's security policy."""

import base64
import contextlib
import functools
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from playwright.sync_api import Browser, Page, sync_playwright

from triptych.runtime.service.page.files import page_router

EMPTY = (
    b"<!doctype html><html lang=en><title>Modules</title><meta name=viewport content='width=device-width'>"
    b"<link rel=icon href='data:,'><main></main></html>"
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class _Handler(BaseHTTPRequestHandler):
    """Answers as the service does, but for the index, which is empty."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[dict[str, Response]] = {}

    def do_GET(self) -> None:
        if self.path not in self.answers:
            self.answers[self.path] = _service().get(self.path, headers={"Accept-Encoding": "identity"})
        answer = self.answers[self.path]
        content = EMPTY if self.path == "/" else answer.content
        self.send_response(answer.status_code)
        for name, value in (dict(answer.headers) | {"content-length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@functools.cache
def _service() -> TestClient:
    """Client of the routes of the page alone."""
    app = FastAPI()
    app.include_router(page_router())
    return TestClient(app, raise_server_exceptions=False)


@dataclass(frozen=True)
class Modules:
    """A browser, and the URL of an empty page whose scripts may import the page's modules from /page/."""

    browser: Browser
    url: str

    @contextlib.contextmanager
    def page(self, width: int = 700) -> Iterator[Page]:
        """The empty page, with German numbers; at the end nothing was blocked or failed, and it fits its width."""
        context = self.browser.new_context(viewport={"width": width, "height": 740}, has_touch=True, locale="de-DE")
        context.set_default_timeout(10_000)
        page = context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(self.url)
        yield page
        actual = page.evaluate("document.documentElement.scrollWidth")
        context.close()
        assert problems == []
        assert actual <= width


@contextlib.contextmanager
def serve_modules(executable: str) -> Iterator[Modules]:
    """A server of the page's modules, and a running Chromium without a window."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield Modules(running, f"http://127.0.0.1:{server.server_address[1]}/")
        running.close()
    server.shutdown()
    server.server_close()


def chromium() -> str | None:
    """Path of an installed Chromium."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


PRELUDE = """
const blobOf = (text, type = "") => new Blob([Uint8Array.from(atob(text), (each) => each.charCodeAt(0))], {type});
const textOf = async (blob) => {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
};
"""


def evaluate(page: Page, body: str, argument: Any = None) -> Any:
    """The value of an asynchronous JavaScript function; `blobOf` and `textOf` convert between Blob and base64."""
    return page.evaluate(f"async (argument) => {{{PRELUDE}{body}}}", argument)


def encoded(content: bytes) -> str:
    """Base64."""
    return base64.b64encode(content).decode()
