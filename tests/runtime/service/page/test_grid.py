"""The page's grid over two settings, and the values that people type for it."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright")

from playwright.sync_api import Page, expect

from tests.support.elements import COLOURS, IMAGES, add, events, small_targets
from tests.support.modules import evaluate

both = pytest.mark.parametrize("page", [360, 1200], ids=["phone", "desktop"], indirect=True)
MODEL = {
    "fields": ["guidance_scale", "negative_prompt", "strength"],
    "schedulers": ["ddim", "euler", "euler_a"],
    "sizes": {"fixed": False, "suggested": ["512x512"]},
}
SETTINGS = {"prompt": "a fox, a red fox", "negative_prompt": "no fox", "seed": 5, "n": 4, "guidance_scale": 7.5}


def open_grid(page: Page, model: dict[str, Any] = MODEL, settings: dict[str, Any] = SETTINGS) -> None:
    add(page, "xy_grid", "element.setFields(argument.model, argument.settings)", {"model": model, "settings": settings})


def choose(page: Page, side: str, name: str, values: str) -> None:
    page.get_by_label(f"{side}: setting").select_option(name)
    page.get_by_label(f"{side}: values").fill(values)


def jobs(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("element.jobs()")
    return found


@both
def test_the_grid_draws_every_combination(page: Page) -> None:
    open_grid(page)
    run, save = (page.get_by_role("button", name=name) for name in ("Draw the grid", "Save as one image"))
    expect(run).to_be_disabled()
    assert jobs(page) == []
    choose(page, "Columns", "num_inference_steps", "10-30 [3]")
    choose(page, "Rows", "replacement", "fox, badger")
    expect(page.get_by_role("status")).to_have_text("3 × 2 = 6 images")
    listed = jobs(page)
    assert [(job["x"], job["y"], job["values"]["num_inference_steps"]) for job in listed] == [
        *((0, 0, 10), (1, 0, 20), (2, 0, 30), (0, 1, 10), (1, 1, 20), (2, 1, 30))
    ]
    assert listed[5]["values"] == {
        **SETTINGS,
        "num_inference_steps": 30,
        "prompt": "a badger, a red badger",
        "negative_prompt": "no badger",
        "n": 1,
    }
    assert small_targets(page) == []
    run.click()
    assert events(page) == [["run"]]
    expect(save).to_be_disabled()
    sheet = """
    element.put(0, 0, blobOf(argument[0]));
    element.put(2, 1, blobOf(argument[2]));
    element.put(9, 9, blobOf(argument[0]));
    return textOf(await element.toBlob());
    """
    image = Image.open(io.BytesIO(base64.b64decode(evaluate(page, sheet, IMAGES)))).convert("RGB")
    pixels = np.asarray(image)
    for colour, expected in zip(COLOURS, (240 * 160, 0, 240 * 160), strict=True):
        assert (pixels == colour).all(-1).sum() == expected
    rows, columns = np.nonzero((pixels == COLOURS[2]).all(-1))
    assert image.size == (columns.max() + 17, rows.max() + 17)
    dark = (pixels.max(-1) < 100).nonzero()[0]
    assert len(dark)  # the labels
    expect(page.get_by_role("img", name="Steps: 30, badger")).to_be_visible()
    with page.expect_download() as download:
        save.click()
    assert download.value.suggested_filename == "grid.png"
    run.click()
    assert evaluate(page, "return element.toBlob()") is None


@both
def test_the_grid_offers_what_the_model_can_vary(page: Page) -> None:
    def offered() -> list[str]:
        options = page.get_by_label("Columns: setting").locator("option")
        return [str(value) for value in options.evaluate_all("each => each.map((option) => option.value)")]

    open_grid(page)
    assert offered() == [
        *("", "seed", "num_inference_steps", "guidance_scale", "scheduler", "size", "prompt", "negative_prompt"),
        "replacement",
    ]
    choose(page, "Columns", "guidance_scale", "5, 7")
    fixed = {"fields": ["strength"], "sizes": {"fixed": True, "suggested": ["512x512"]}}
    page.evaluate(
        "([model, settings]) => element.setFields(model, settings)", [fixed, {"prompt": "x", "strength": 0.5}]
    )
    assert offered() == ["", "seed", "num_inference_steps", "strength", "scheduler", "prompt", "replacement"]
    assert page.get_by_label("Columns: setting").input_value() == ""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("num_inference_steps", "10, 20, 30", [10, 20, 30]),
        ("num_inference_steps", "1-5", [1, 2, 3, 4, 5]),
        ("num_inference_steps", " 10-30 [5] ,7", [10, 15, 20, 25, 30, 7]),
        ("num_inference_steps", "1-10 (3)", [1, 4, 7, 10]),
        ("num_inference_steps", "5-1 (2)", [5, 3, 1]),
        ("num_inference_steps", "1-10 [4]", [1, 4, 7, 10]),
        ("num_inference_steps", "2.5", "“2.5” is not allowed for steps."),
        ("num_inference_steps", "many", "“many” is not a number."),
        ("num_inference_steps", "1-1000", "“1-1000” has more than 100 values, or none."),
        ("num_inference_steps", "1-9 (0)", "“1-9 (0)” has more than 100 values, or none."),
        ("guidance_scale", "0-1 (0.1)", [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        ("guidance_scale", "5-6 [3]", [5, 5.5, 6]),
        ("guidance_scale", "-1", "“-1” is not allowed for guidance."),
        ("seed", "1-3, 18446744073709551615", [1, 2, 3, "18446744073709551615"]),
        ("seed", "18446744073709551616", "“18446744073709551616” is not allowed for seed."),
        ("scheduler", 'ddim, "a, ""b""", euler', ["ddim", 'a, "b"', "euler"]),
        ("size", "512 x 768, 640×448", ["512x768", "640x448"]),
        ("size", "big", "“big” is not allowed for size."),
        ("replacement", "wolf, fox", "“wolf” is not in the prompts."),
        ("prompt", ", ".join("x" * 101), "101 values; allowed: 100."),
        ("prompt", " , ,", []),
    ],
)
def test_values_of_an_axis(shared: Page, name: str, text: str, expected: Any) -> None:
    values = """
    const { axesOf, AxisError } = await import("/page/elements/xy_axes.js");
    const axis = axesOf(argument.model, argument.settings).find((each) => each.name === argument.name);
    try { return axis.values(argument.text, argument.settings); }
    catch (error) { if (error instanceof AxisError) return error.message; throw error; }
    """
    given = {"model": MODEL, "settings": SETTINGS, "name": name, "text": text}
    assert evaluate(shared, values, given) == expected


@both
def test_the_grid_says_why_it_cannot_be_drawn(page: Page) -> None:
    open_grid(page)
    status = page.get_by_role("status")
    expect(status).to_have_text("Choose a setting to vary.")
    choose(page, "Columns", "seed", "")
    expect(status).to_have_text("Type the values of each setting.")
    choose(page, "Columns", "seed", "one")
    expect(page.locator("#columns-hint")).to_have_text("“one” is not a number.")
    expect(page.get_by_label("Columns: values")).to_have_attribute("aria-invalid", "true")
    choose(page, "Columns", "seed", "1-51")
    choose(page, "Rows", "guidance_scale", "5, 7")
    expect(status).to_have_text("51 × 2 = 102 images; allowed: 100.")
    choose(page, "Rows", "seed", "1")
    expect(status).to_have_text("Choose two different settings.")
    assert jobs(page) == []
    expect(page.get_by_role("button", name="Draw the grid")).to_be_disabled()
