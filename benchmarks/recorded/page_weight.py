"""Weight of the page of `triptych serve --ui`, and the time until it can be used.

    triptych serve models/emoji-package --ui --port 8000 &
    python benchmarks/recorded/page_weight.py http://127.0.0.1:8000 [--rounds N] [--json FILE]

Each round opens the page in a new, empty profile of Chromium over loopback: bytes and requests until nothing is open,
first paint, and the moment at which Draw can be pressed. A second load of the same profile gives the bytes of a return.

    {"date", "browser", "rounds", "requests", "bytes", "bytes_again", "first_paint_ms", "interactive_ms", "transfer"}

Times are medians in milliseconds since the start of the navigation; `transfer` is bytes by kind of file.
"""

import argparse
import json
import shutil
import statistics
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

_ENTRIES = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .map(({name, transferSize}) => [new URL(name).pathname, transferSize])"""
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def measure(url: str, rounds: int) -> dict[str, Any]:
    """All figures; see the top of the file."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        taken = [_round(browser, url) for _ in range(rounds)]
        version = browser.version
        browser.close()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "browser": f"Chromium {version}",
        "rounds": rounds,
        **{name: taken[-1][name] for name in ("requests", "bytes", "bytes_again", "transfer")},
        **{
            name: round(statistics.median(each[name] for each in taken))
            for name in ("first_paint_ms", "interactive_ms")
        },
    }


def _round(browser: Browser, url: str) -> dict[str, Any]:
    context = browser.new_context()
    page = context.new_page()
    interactive = _open(page, url)
    entries = page.evaluate(_ENTRIES)
    kinds: Counter[str] = Counter()
    for path, size in entries:
        kinds["api" if path.startswith("/v1/") or path == "/readyz" else Path(path).suffix or ".html"] += size
    paint = page.evaluate(_PAINT)
    _open(page, url)
    again = page.evaluate(_ENTRIES)
    context.close()
    return {
        "requests": len(entries),
        "bytes": sum(size for _, size in entries),
        "bytes_again": sum(size for _, size in again),
        "transfer": dict(kinds.most_common()),
        "first_paint_ms": paint,
        "interactive_ms": interactive,
    }


def _open(page: Page, url: str) -> float:
    """Open the page; milliseconds until its form can be used."""
    page.goto(url)
    page.locator("#draw:not([disabled])").wait_for()
    interactive: float = page.evaluate("performance.now()")
    page.wait_for_load_state("networkidle")
    return interactive


def main() -> None:
    """Measure, print, and write to the file given by --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    text = json.dumps(measure(arguments.url, arguments.rounds), indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
