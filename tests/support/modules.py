"""Modules of the page, each alone in a browser: an empty page that imports them under the page's security policy."""

import base64
import contextlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

STATIC = Path(__file__).parents[2] / "runtime/service/page/static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {".js": "text/javascript", ".css": "text/css"}
EMPTY = (
    b"<!doctype html><html lang=en><title>Modules</title><meta name=viewport content='width=device-width'>"
    b"<link rel=icon href='data:,'><main></main></html>"
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = STATIC / self.path.removeprefix("/page/")
        if self.path == "/":
            self._answer(200, "text/html", EMPTY)
        elif path.suffix in TYPES and path.is_file():
            self._answer(200, TYPES[path.suffix], path.read_bytes())
        else:
            self._answer(404, "text/plain", b"")

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), "Content-Security-Policy": POLICY}
        for name, value in (headers | {"X-Content-Type-Options": "nosniff"}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


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
