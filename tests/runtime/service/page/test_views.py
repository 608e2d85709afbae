"""Elements of the page, each alone: the large view and the comparison."""

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright")

from playwright.sync_api import Page, expect

from tests.support.elements import COLOURS, IMAGES, add, events, small_targets

both = pytest.mark.parametrize("page", [360, 1200], ids=["phone", "desktop"], indirect=True)


def open_view(page: Page, index: int = 1) -> None:
    items = [
        {"id": f"i{place}", "blob": image, "seed": 1000 + place, "settings": {"prompt": f"a fox {place}", **settings}}
        for place, (image, settings) in enumerate(
            zip(
                IMAGES,
                [{}, {"guidance_scale": 7.5, "size": "240x160", "num_inference_steps": 1200, "scheduler": None}, {}],
                strict=True,
            )
        )
    ]
    body = """
    element.setAttribute("actions", "download restore delete unknown");
    element.open(argument.items.map((item) => ({...item, blob: blobOf(item.blob)})), argument.index);
    """
    add(page, "large_view", body, {"items": items, "index": index})


@both
def test_the_large_view_walks_acts_and_closes(page: Page) -> None:
    open_view(page)
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_have_text("2 of 3, seed 1001")
    expect(dialog.get_by_role("img")).to_have_attribute("alt", "a fox 1")
    terms = page.locator("dl").inner_text().split("\n")
    assert [each for each in terms if each] == [
        *("Prompt", "a fox 1", "Size", "240 × 160", "Steps", "1.200", "Guidance", "7,5", "Seed", "1001")
    ]
    assert small_targets(page) == []
    expect(dialog).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # there is no other one
    page.keyboard.press("Home")
    dialog.get_by_role("button", name="Next image").click()
    dialog.get_by_role("button", name="Use these settings").click()
    assert events(page) == [
        ["move", 1, "i1"],
        ["move", 2, "i2"],
        ["move", 0, "i0"],
        ["move", 1, "i1"],
        ["action", "restore", "i1"],
    ]
    expect(dialog.get_by_role("button", name="unknown")).to_have_count(0)
    page.evaluate("element.drop('i1')")
    expect(dialog.get_by_role("status")).to_have_text("2 of 2, seed 1002")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.wait_for_function("window.events.at(-1)[0] === 'close'")
    assert events(page) == [["move", 1, "i2"], ["close"]]
    page.evaluate("element.drop('i2'); element.open([])")
    expect(dialog).to_be_hidden()


@both
def test_the_last_item_dropped_closes_the_large_view(page: Page) -> None:
    open_view(page, 2)
    for place in (1, 0, 2):
        page.evaluate(f"element.drop('i{place}')")
    page.wait_for_function("window.events.at(-1)[0] === 'close'")
    expect(page.get_by_role("dialog")).to_be_hidden()


@both
def test_the_large_view_zooms_to_pixels_and_swipes(page: Page) -> None:
    open_view(page)
    image = page.get_by_role("img")
    width = lambda: image.evaluate("each => each.getBoundingClientRect().width")  # noqa: E731
    page.wait_for_function("element.shadowRoot.querySelector('.content').style.width === '240px'")
    fitted = width()
    page.keyboard.press("1")
    assert width() == pytest.approx(240)
    expect(page.get_by_role("button", name="1:1")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("+")
    assert width() == pytest.approx(300)
    page.keyboard.press("0")
    assert width() == pytest.approx(fitted)
    page.locator(".stage").dblclick()
    assert width() == pytest.approx(240)
    page.keyboard.press("0")

    stage = page.locator(".stage").bounding_box()
    assert stage is not None
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + 20
    for dx, dy, expected in ((-120, 5, 2), (120, -5, 1), (-40, 0, 1), (-70, 60, 1)):
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + dx, y + dy)
        page.mouse.up()
        expect(page.get_by_role("status")).to_contain_text(f"{expected + 1} of 3")


@both
def test_the_divider_of_a_comparison_moves(page: Page) -> None:
    body = """
    const [left, right] = argument.map((each) => blobOf(each));
    element.show({left, right, leftLabel: "Seed 1", rightLabel: "Seed 2"});
    """
    add(page, "image_compare", body, IMAGES[:2])
    slider = page.get_by_role("slider")
    page.wait_for_function("element.shadowRoot.querySelector('img').naturalWidth")
    frame = page.locator(".frame")

    def shares() -> list[float]:
        """Shares of the width that show the left and the right image, away from the divider's middle and labels."""
        pixels = np.asarray(Image.open(io.BytesIO(frame.screenshot())).convert("RGB"))[30].astype(int)
        return [float((np.abs(pixels - colour).sum(-1) < 9).mean()) for colour in COLOURS[:2]]

    for key, value in (("Home", 0), ("PageUp", 10), ("ArrowRight", 11), ("ArrowLeft", 10), ("End", 100)):
        slider.press(key)
        expect(slider).to_have_attribute("aria-valuenow", str(value))
    box = frame.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 30)
    page.mouse.up()
    expect(slider).to_have_attribute("aria-valuenow", "25")
    expect(slider).to_have_attribute("aria-valuetext", "25\xa0% of the left image")
    assert shares() == pytest.approx([0.25, 0.75], abs=0.03)
    assert small_targets(page) == []

    page.get_by_role("button", name="Side by side").click()
    expect(slider).to_be_hidden()
    places = [page.get_by_role("img", name=f"Seed {seed}").bounding_box() for seed in (1, 2)]
    assert places[0] is not None
    assert places[1] is not None
    beside = places[1]["x"] >= places[0]["x"] + places[0]["width"]
    assert beside or places[1]["y"] >= places[0]["y"] + places[0]["height"]
