"""The page's mask painter: its mask is exactly what the strokes cover."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.images import example_image

pytest.importorskip("playwright")

from playwright.sync_api import Page, expect

from tests.support.modules import encoded, evaluate

from ..serving import png

WIDTH, HEIGHT = 320, 200
Place = tuple[float, float]
LOAD = """
await import("/page/elements/mask_painter.js");
const painter = document.createElement("mask-painter");
document.body.replaceChildren(painter);
window.changes = 0;
painter.addEventListener("change", () => window.changes++);
await painter.load(blobOf(argument));
await new Promise((resolve) => setTimeout(() => requestAnimationFrame(resolve), 50));
"""
MASK = (
    "const file = await document.querySelector('mask-painter').mask(); return file && [file.type, await textOf(file)];"
)


@pytest.fixture
def painter(page: Page) -> Page:
    """A page with nothing but a mask painter and its image."""
    load(page)
    return page


def load(page: Page, image: Image.Image | None = None) -> None:
    evaluate(page, LOAD, encoded(png(image or example_image(WIDTH, HEIGHT))))


def mask(page: Page) -> np.ndarray:
    """The painted pixels, bool [H, W]; none where there is no mask."""
    found = evaluate(page, MASK)
    if found is None:
        return np.zeros((HEIGHT, WIDTH), bool)
    image = Image.open(io.BytesIO(base64.b64decode(found[1])))
    assert (found[0], image.format, image.mode) == ("image/png", "PNG", "RGBA")
    alpha = np.asarray(image)[..., 3]
    assert set(np.unique(alpha)) <= {0, 255}
    transparent: np.ndarray = alpha == 0
    return transparent


def view(page: Page) -> tuple[float, float, float]:
    """Place of the image's corner in the window, and CSS pixels of one of its pixels."""
    box = page.locator(".content").bounding_box()
    assert box is not None
    return box["x"], box["y"], box["width"] / WIDTH


def stroke(page: Page, *places: Place) -> list[Place]:
    """Move the mouse from place to place of the stage with its button down; their places in the image."""
    stage = page.locator(".stage").bounding_box()
    assert stage is not None
    x, y, scale = view(page)
    window = [(round(stage["x"] + dx), round(stage["y"] + dy)) for dx, dy in places]  # a press is at a whole pixel
    page.mouse.move(*window[0])
    page.mouse.down()
    for place in window[1:]:
        page.mouse.move(*place)
    page.mouse.up()
    return [((left - x) / scale, (top - y) / scale) for left, top in window]


def covered(places: Sequence[Place], diameter: float, *, margin: float = 0) -> np.ndarray:
    """Pixels whose centres are within the brush's radius of a line through the places, bool [H, W]."""
    centres = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), axis=-1)
    result = np.zeros((HEIGHT, WIDTH), bool)
    for start, end in zip(places, [*places[1:], places[-1]], strict=True):
        line = np.subtract(end, start)
        along = np.clip((centres - start) @ line / max(line @ line, 1e-12), 0, 1)
        distance = np.linalg.norm(centres - start - along[..., None] * line, axis=-1)
        result |= distance <= diameter / 2 + margin
    return result


def brush(page: Page) -> float:
    return float(page.get_by_label("Brush size").input_value())


def assert_painted(page: Page, *strokes: tuple[list[Place], float], erased: int = 0) -> None:
    """The mask is that of the strokes, of which the last `erased` erase; a thousandth of a pixel is rounding."""
    lower, upper = (np.zeros((HEIGHT, WIDTH), bool) for _ in range(2))
    for index, (places, diameter) in enumerate(strokes):
        inner, outer = (covered(places, diameter, margin=margin) for margin in (-1e-3, 1e-3))
        if index < len(strokes) - erased:
            lower, upper = lower | inner, upper | outer
        else:
            lower, upper = lower & ~outer, upper & ~inner
    actual = mask(page)
    assert (lower <= actual).all()
    assert (actual <= upper).all()
    assert (upper ^ lower).sum() < 10


def test_the_mask_is_what_the_strokes_cover(painter: Page) -> None:
    assert evaluate(painter, MASK) is None
    first = stroke(painter, (100.3, 80.7), (300.1, 90.2), (310.9, 200.4)), brush(painter)
    assert_painted(painter, first)
    painter.get_by_label("Brush size").fill("9")
    stroke(painter, (-20, 350.2), (690, 250.3))  # begins outside of the stage
    assert_painted(painter, first)
    third = stroke(painter, (5.2, 350.2), (600.4, 250.3)), 9.0
    assert_painted(painter, first, third)

    painter.get_by_role("button", name="Eraser").click()
    painter.keyboard.press("]")
    rubbed = stroke(painter, (200.2, 60.6), (201.7, 330.1)), brush(painter)
    assert rubbed[1] == 11
    assert_painted(painter, first, third, rubbed, erased=1)

    painter.keyboard.press("Control+z")
    assert_painted(painter, first, third)
    painter.get_by_role("button", name="Undo").click()
    assert_painted(painter, first)
    painter.keyboard.press("Control+Shift+Z")
    painter.get_by_role("button", name="Redo").click()
    assert_painted(painter, first, third, rubbed, erased=1)
    expect(painter.get_by_role("button", name="Redo")).to_be_disabled()
    painter.get_by_role("button", name="Clear").click()
    assert evaluate(painter, MASK) is None
    painter.keyboard.press("Control+z")
    assert_painted(painter, first, third, rubbed, erased=1)
    assert painter.evaluate("window.changes") == 9


def test_zoomed_and_panned_the_mask_is_that_of_the_image(painter: Page) -> None:
    for _ in range(4):
        painter.get_by_role("button", name="Zoom in").click()
    near = stroke(painter, (101.3, 80.7), (240.1, 190.2)), brush(painter)
    painter.locator(".stage").focus()
    before = view(painter)
    painter.keyboard.down("Space")
    stroke(painter, (300, 200), (180, 150))
    painter.keyboard.up("Space")
    after = view(painter)
    assert (before[0] - after[0], before[1] - after[1]) == pytest.approx((120, 50))
    panned = stroke(painter, (101.3, 80.7), (180.1, 240.9)), brush(painter)
    painter.mouse.wheel(0, -300)
    assert view(painter)[2] > after[2]
    wheeled = stroke(painter, (30.3, 40.7), (33.1, 300.9)), brush(painter)
    assert_painted(painter, near, panned, wheeled)
    painter.keyboard.press("0")
    fitted = stroke(painter, (400.3, 300.7), (401.1, 310.9)), brush(painter)
    assert view(painter)[2] == pytest.approx(before[2] / 1.25**4)
    assert_painted(painter, near, panned, wheeled, fitted)
    assert mask(painter)[0, 0] == 0


def test_one_finger_paints_and_two_zoom(painter: Page) -> None:
    stage = painter.locator(".stage").bounding_box()
    assert stage is not None
    session = painter.context.new_cdp_session(painter)

    def touch(kind: str, *places: Place) -> None:
        points = [{"x": stage["x"] + x, "y": stage["y"] + y, "id": index} for index, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    x, y, scale = view(painter)
    touch("touchStart", (100, 100))
    touch("touchMove", (220, 130))
    touch("touchEnd")
    places = [
        ((stage["x"] + left - x) / scale, (stage["y"] + top - y) / scale) for left, top in ((100, 100), (220, 130))
    ]
    painted = places, brush(painter)
    assert_painted(painter, painted)

    touch("touchStart", (200, 200))
    touch("touchMove", (210, 200))  # begins a stroke, which the second finger takes back
    touch("touchStart", (210, 200), (310, 200))
    touch("touchMove", (160, 200), (360, 200))
    touch("touchEnd")
    assert view(painter)[2] == pytest.approx(2 * scale, rel=0.05)
    assert_painted(painter, painted)
    assert painter.evaluate("window.changes") == 1


def test_by_keyboard_alone(painter: Page) -> None:
    diameter = brush(painter)
    painter.keyboard.press("Tab")  # the first tool
    painter.locator(".stage").focus()
    step = max(1, round(diameter / 4))
    place = [WIDTH / 2 + 0.5, HEIGHT / 2 + 0.5]
    painter.keyboard.press("ArrowRight")
    place[0] += step
    painter.keyboard.press("Shift+ArrowDown")
    place[1] += 1
    painter.keyboard.down("Space")
    places: list[Any] = [tuple(place)]
    for key, axis in (("ArrowLeft", 0), ("ArrowLeft", 0), ("ArrowUp", 1)):
        painter.keyboard.press(key)
        place[axis] -= step
        places.append(tuple(place))
    painter.keyboard.up("Space")
    np.testing.assert_array_equal(mask(painter), covered(places, diameter))
    column, row = (int(each) for each in place)
    expect(painter.get_by_role("status")).to_have_text(f"{column}, {row}, painted")
    painter.keyboard.press("Control+z")
    expect(painter.get_by_role("status")).to_have_text("Undone")
    assert evaluate(painter, MASK) is None
    for _ in range(100):
        painter.keyboard.press("ArrowLeft")
    expect(painter.get_by_role("status")).to_have_text(f"0, {row}, not painted")
    painter.keyboard.press("Space")
    assert mask(painter)[row, 0]


def test_a_new_image_has_an_empty_mask_of_its_own_size(painter: Page) -> None:
    stroke(painter, (100, 80), (300, 90))
    load(painter, example_image(33, 70))
    assert evaluate(painter, MASK) is None
    stroke(painter, (300, 100), (400, 300))
    found = evaluate(painter, MASK)
    assert Image.open(io.BytesIO(base64.b64decode(found[1]))).size == (33, 70)
    refused = "return document.querySelector('mask-painter').load(new Blob(['x'])).catch((error) => error.name)"
    assert evaluate(painter, refused) == "InvalidStateError"


def test_strokes_to_undo_have_a_bound(shared: Page) -> None:
    """Of a mask of 16 megapixels one whole change is kept, and the last one always is."""
    counts = evaluate(
        shared,
        """
        const { Mask } = await import("/page/elements/mask.js");
        const mask = new Mask(4096, 4096);
        const counts = [];
        for (const radius of [6000, 6000, 2]) {
          mask.begin(2048, 2048, radius, counts.length === 1);
          mask.end();
          counts.push(mask.pixels.reduce((sum, pixel) => sum + pixel, 0));
        }
        const painted = () => mask.pixels.reduce((sum, pixel) => sum + pixel, 0);
        while (mask.undo()) counts.push(painted());
        while (mask.redo()) counts.push(painted());
        return counts;
        """,
    )
    whole = 4096 * 4096
    assert counts == [whole, 0, 12, 0, whole, 0, 12]
