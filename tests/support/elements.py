"""Elements of the page, each alone in an empty page."""

from typing import Any

from PIL import Image
from playwright.sync_api import Page

from tests.runtime.service.serving import png

from .modules import encoded, evaluate

COLOURS = [(200, 30, 30), (30, 160, 60), (40, 60, 200)]
IMAGES = [encoded(png(Image.new("RGB", (240, 160), colour))) for colour in COLOURS]


def add(page: Page, module: str, body: str, argument: Any = None) -> None:
    """Put an element alone into the page, as `element`, with `events` of what it says."""
    evaluate(
        page,
        f"""
        await import("/page/elements/{module}.js");
        const element = window.element = document.createElement("{module.replace("_", "-")}");
        window.events = [];
        for (const name of ["move", "action", "close", "run", "change"])
          element.addEventListener(name, ({{type, detail}}) => window.events.push(
            [type, ...(detail ? [detail.name ?? detail.index, detail.item.id] : [])]));
        document.body.replaceChildren(element);
        const sheets = [...element.shadowRoot.querySelectorAll("link")];
        await Promise.all(sheets.map((each) => each.sheet ?? new Promise((resolve) => each.onload = resolve)));
        {body}
        """,
        argument,
    )


def small_targets(page: Page) -> list[str]:
    """Controls that are smaller than a finger."""
    found: list[str] = page.evaluate(
        """[...element.shadowRoot.querySelectorAll("button, select, input, [role=slider]")]
        .filter((each) => each.checkVisibility() && Math.min(each.offsetWidth, each.offsetHeight) < 44)
        .map((each) => each.outerHTML)"""
    )
    return found


def events(page: Page) -> list[list[Any]]:
    found: list[list[Any]] = page.evaluate("window.events.splice(0)")
    return found
