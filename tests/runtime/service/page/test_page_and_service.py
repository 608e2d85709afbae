"""The page of services that ask for a key, stop, or go away and come back."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import expect

from tests.support.pages import MILLISECONDS, fill, open_page, wait_until_ready

from ..serving import process

if TYPE_CHECKING:
    from tests.support.modules import Modules

KEY = "geheim 鍵"
FAST = {"num_inference_steps": 2, "width": 64, "height": 64}


def test_the_page_asks_for_the_key_and_keeps_it_for_the_tab(modules: "Modules", package: Path, tmp_path: Path) -> None:
    with process(tmp_path / "log", package, "--ui", "--api-key", KEY) as running:
        with open_page(modules.browser, running.url, ready=False) as page:
            for answer, hint in (("wrong", "did not accept"), (KEY, "asks for a key")):
                page.locator("#key").fill(answer)
                page.get_by_role("button", name="Use key").click()
                if answer != KEY:
                    expect(page.locator("#key-hint")).to_contain_text(hint)
            wait_until_ready(page)
            page.reload()
            wait_until_ready(page)
            fill(page, prompt="a fox", **FAST)
            page.locator("#draw").click()
            page.locator("#shown img").wait_for()
            assert page.context.cookies() == []
            assert KEY not in page.evaluate("JSON.stringify(localStorage)")
            page.locator("#forget").click()
            page.locator("#draw").click()
            expect(page.locator("#dialog-key")).to_be_visible()
            page.locator("#key").fill(KEY)
            page.keyboard.press("Enter")
            expect(page.locator("#thumbnails img")).to_have_count(2)
        with open_page(modules.browser, running.url, ready=False) as page:
            expect(page.locator("#dialog-key")).to_be_visible()
    assert KEY not in (tmp_path / "log").read_text()


def test_a_service_that_goes_away_and_comes_back(modules: "Modules", package: Path, tmp_path: Path) -> None:
    with process(tmp_path / "log", package, "--ui") as running:
        url = running.url
        with open_page(modules.browser, url) as page:
            fill(page, prompt="a fox", seed=7, **FAST)
            running.kill()
            page.locator("#draw").click()
            expect(page.locator("#banner")).to_contain_text("cannot be reached", timeout=MILLISECONDS)
            expect(page.locator("#seed")).to_have_value("7")
            with process(tmp_path / "again", package, "--ui", "--port", str(urlsplit(url).port)):
                expect(page.locator("#banner")).to_be_hidden(timeout=MILLISECONDS)
                wait_until_ready(page)
                expect(page.locator("#seed")).to_have_value("7")
                page.locator("#draw").click()
                page.locator("#shown img").wait_for()


def test_a_service_that_stops_finishes_the_images_of_an_open_page(
    modules: "Modules", slow_package: Path, tmp_path: Path
) -> None:
    with process(tmp_path / "log", slow_package, "--ui") as running, open_page(modules.browser, running.url) as page:
        fill(page, prompt="a fox", num_inference_steps=40)
        page.locator("#draw").click()
        expect(page.locator("#jobs article")).to_contain_text("%")
        running.tell(signal.SIGTERM)
        page.locator("#shown img").wait_for(timeout=MILLISECONDS)
        assert running.status() == 0
