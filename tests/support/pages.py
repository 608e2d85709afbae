"""The page of a running service in a browser: what it shows, and that it stays within its policy."""

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from triptych.runtime.image.pixels import SETTINGS_KEY
from triptych.runtime.image.settings import Settings

MILLISECONDS = 20_000
DESKTOP = {"width": 1280, "height": 900}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
EXPECTED = ("the server responded with a status of", "net::ERR_CONNECTION_REFUSED")
"""Errors that a browser logs of answers that a test provokes."""


@contextlib.contextmanager
def open_page(browser: Browser, url: str, path: str = "/", ready: bool = True, **options: Any) -> Iterator[Page]:
    """The page; at the end no script failed, nothing was blocked, and all requests went to the service."""
    context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
    context.set_default_timeout(MILLISECONDS)
    page = context.new_page()
    problems: list[str] = []
    hosts: set[str] = set()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on(
        "request", lambda request: None if request.url.startswith("blob:") else hosts.add(urlsplit(request.url).netloc)
    )
    page.goto(url + path)
    if ready:
        wait_until_ready(page)
    yield page
    context.close()
    unexpected = [each for each in problems if not any(known in each for known in EXPECTED)]
    assert unexpected == [], unexpected
    assert hosts == {urlsplit(url).netloc}, hosts


def wait_until_ready(page: Page) -> None:
    """Wait until the form has the values of a model."""
    expect(page.locator("#draw")).to_be_enabled(timeout=MILLISECONDS)


def fill(page: Page, **values: object) -> None:
    """Fill controls by id."""
    for name, value in values.items():
        page.locator(f"#{name}").fill(str(value))


def draw(page: Page, count: int = 1) -> None:
    """Press Draw, and wait for the images on the stage."""
    before = page.locator("#shown img").evaluate_all("all => all.map(each => each.src)")
    page.locator("#draw").click()
    expect(page.locator("#shown img")).to_have_count(count, timeout=MILLISECONDS)
    if before:
        expect(page.locator("#shown img").first).not_to_have_attribute("src", before[0], timeout=MILLISECONDS)
    expect(page.locator("#jobs article")).to_have_count(0, timeout=MILLISECONDS)


def act(page: Page, name: str) -> None:
    """Press a button of the large view."""
    page.locator("large-view").get_by_role("button", name=name, exact=True).click()


def saved(page: Page, index: int = 0) -> Image.Image:
    """An image of the stage, as the page saves it; the large view is closed again."""
    page.locator("#shown .image").nth(index).click()
    with page.expect_download() as download:
        act(page, "Download")
    image = Image.open(download.value.path())
    image.load()
    page.keyboard.press("Escape")
    return image


def settings_of(image: Image.Image) -> Settings:
    """Settings that an image carries."""
    return Settings.from_json(image.info[SETTINGS_KEY])
