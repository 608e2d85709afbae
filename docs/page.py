"""Write docs/page.png and docs/page-phone.png: screenshots of `triptych serve --ui` with the demo model.

make demo && .venv-demo/bin/triptych serve models/emoji-package --ui --port 8000 &
.venv/bin/python docs/page.py http://127.0.0.1:8000
"""

import io
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

COLOURS = 128
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 840}, "color_scheme": "light"}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 840},
    "color_scheme": "dark",
    "has_touch": True,
    "is_mobile": True,
}
PROMPTS = ("red heart", "fox", "sunflower", "car", "penguin on a purple background")
SEED = 7  # other settings are the model's defaults


def draw(page: Page, prompt: str, count: int) -> None:
    """Draw images, and wait for them."""
    for name, value in {"prompt": prompt, "n": count, "seed": SEED}.items():
        page.locator(f"#{name}").fill(str(value))
    before = page.locator("#thumbnails img").count()
    page.locator("#draw").click()
    page.locator("#thumbnails img").nth(before + count - 1).wait_for(timeout=120_000)


def screenshot(browser: Browser, url: str, count: int, options: dict[str, Any]) -> Image.Image:
    """Screenshot with `count` images on the stage and some in the history, reduced to a few colours."""
    page = browser.new_context(**options).new_page()
    page.goto(url)
    page.locator("#draw:not([disabled])").wait_for()
    for prompt in PROMPTS[:-1]:
        draw(page, prompt, 1)
    draw(page, PROMPTS[-1], count)
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    image = Image.open(io.BytesIO(page.screenshot()))
    page.context.close()
    return image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)


def main(url: str) -> None:
    """Write both files next to this one."""
    here = Path(__file__).parent
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        screenshot(browser, url, 2, DESKTOP).save(here / "page.png", optimize=True)
        screenshot(browser, url, 1, PHONE).save(here / "page-phone.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
