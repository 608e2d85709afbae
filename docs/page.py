"""Write docs/page.png: a screenshot of `triptych serve --ui` with the demo model, by a Chromium on the path.

make demo && .venv/bin/triptych serve models/emoji-package --ui --port 8000 &
.venv/bin/python docs/page.py http://127.0.0.1:8000
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

COLOURS = 256
WIDTH, HEIGHT = 1280, 815


def screenshot(url: str) -> Image.Image:
    """Screenshot of the page with six images, reduced to 256 colours."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(url)
        page.wait_for_function("document.querySelector('#scheduler input')?.value.endsWith('(default)')")
        for name, value in (
            ("prompt textarea", "penguin on a purple background"),
            ("steps input[type=number]", "20"),
            ("guidance input[type=number]", "2.5"),
            ("seed :is(input, textarea)", "7"),
            ("pictures input[type=number]", "6"),
        ):
            page.locator(f"#{name}").first.fill(value)
        page.locator("#draw input").uncheck()
        page.locator("#make").click()
        page.locator("#history img").nth(5).wait_for(timeout=120_000)
        page.mouse.move(0, 0)
        page.wait_for_timeout(1000)
        image = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    return image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)


if __name__ == "__main__":
    screenshot(sys.argv[1]).save(Path(__file__).with_suffix(".png"), optimize=True)
