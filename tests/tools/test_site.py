"""The documentation site: built without a warning, every link leads somewhere, and nothing is loaded from elsewhere."""

import contextlib
import functools
import logging
import re
import runpy
import subprocess
import threading
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
ADDRESS = "https://example.org/triptych"
KEPT = "[a](../cli.md#triptych) [b](https://a.test/b) [c](#d)"
_NAMED_IN_CSS = re.compile(r"url\(([^)]*)\)|@import\s*([^;]*)")


class Loads(HTMLParser):
    """Addresses that a page loads by itself; links that a reader follows are none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.found += [value for name in ("src", "srcset", "data", "poster") if (value := values.get(name))]
        if tag == "link" and (target := values.get("href")):
            self.found.append(target)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Path:
    done = subprocess.run(["make", "site"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return REPOSITORY / "build" / "site"


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of the folder's files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_every_page_of_the_repository_is_in_the_site(site: Path) -> None:
    docs = REPOSITORY / "docs"
    pages = {file.relative_to(docs).with_suffix("") for file in docs.rglob("*.md")} - {Path("index")}
    assert {file.parent.relative_to(site) for file in site.rglob("index.html")} == pages | {Path()}
    assert not list(site.rglob("*.py"))


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = set()
    for file in site.rglob("*.html"):
        page = Loads()
        page.feed(file.read_text())
        loaded |= set(page.found)
    assert any(target.endswith(".css") for target in loaded)
    assert any(target.endswith(".js") for target in loaded)
    for file in (*site.rglob("*.css"), *site.rglob("*.html")):
        loaded |= {(found[1] or found[2]).strip("\"' ") for found in _NAMED_IN_CSS.finditer(file.read_text())}
    elsewhere = {target for target in loaded if "//" in target and not target.startswith("data:")}
    assert elsewhere == set()


def test_a_browser_asks_no_other_host_and_finds_what_it_searches(site: Path) -> None:
    pytest.importorskip("playwright")
    from playwright.sync_api import expect, sync_playwright

    from tests.support.modules import chromium
    from tests.support.pages import PHONE, open_page

    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on the path")
    with served(site) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        with open_page(browser, url, ready=False) as page:
            page.get_by_role("textbox", name="Search").click()
            page.keyboard.type("VNNI")
            page.locator(".md-search-result__item a").first.click()
            expect(page).to_have_url(re.compile(f"^{url}/packages/"))
        for path in ("/", "/cli/", "/schedulers/", "/migrating/"):
            with open_page(browser, url, path, ready=False, **PHONE) as page:
                assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]
        browser.close()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The Markdown of docs/explanation/page.md, as MkDocs gets it from the hook."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools"))
    on_page_markdown = runpy.run_path(str(REPOSITORY / "tools" / "site_hooks.py"))["on_page_markdown"]
    page = SimpleNamespace(file=SimpleNamespace(src_uri="explanation/page.md"))
    return lambda text: str(on_page_markdown(text, page=page))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (KEPT, KEPT),
        ("[code](../../setup.py)", f"[code]({ADDRESS}/blob/main/setup.py)"),
        ("[tests](../../tests/standin)", f"[tests]({ADDRESS}/blob/main/tests/standin)"),
        ("```python optimum\nx\n```", '```python title="optimum"\nx\n```'),
        ("```python\nx\n```", "```python\nx\n```"),
        ("<!-- tested: tests/test_a.py -->\n\n# A page\n", "# A page\n"),
    ],
    ids=["links that stay", "a file", "a folder", "a fence with a title", "a fence", "a marker"],
)
def test_pages_are_written_to_be_read_in_the_repository(hook: Callable[[str], str], written: str, read: str) -> None:
    assert hook(written) == read


def test_a_link_to_a_file_that_is_not_there_is_a_warning(
    hook: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "mkdocs"):
        hook("[gone](../../runtime/gone.py)")
    assert "explanation/page.md: a link leads to runtime/gone.py" in caplog.text
