"""The page of a running service: what people do with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Page, Route, expect

from tests.support.images import example_image
from tests.support.pages import PHONE, act, draw, fill, open_page, saved, settings_of, wait_until_ready
from triptych.runtime import TextToImage

from ..serving import Process, process

if TYPE_CHECKING:
    from tests.support.modules import Modules

SEED = 2**63 + 1  # beyond what a number of JavaScript holds
AXE = {"bypass_csp": True}  # it measures contrast with styles of its own
FAST = {"num_inference_steps": 2, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def server(package: Path, slow_package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    log = tmp_path_factory.mktemp("server") / "log"
    with process(log, package, slow_package, "--ui", "--max-steps", "1000") as running:
        yield running


@pytest.fixture
def page(modules: "Modules", server: Process, request: pytest.FixtureRequest) -> Iterator[Page]:
    with open_page(modules.browser, server.url, **getattr(request, "param", {})) as opened:
        yield opened


def choose(page: Page, name: str) -> None:
    page.locator("#model").select_option(name)


def test_an_image_is_that_of_the_pipeline_and_its_settings_come_back(page: Page, package: Path, tmp_path: Path) -> None:
    fill(page, prompt="a red fox (sitting:1.2)", negative_prompt="blue, 青", guidance_scale=3.5, seed=SEED, **FAST)
    page.locator("#scheduler").select_option("euler")
    page.locator("#scheduler_options summary").click()
    page.locator("#option-timestep_spacing").select_option("trailing")
    draw(page)
    image = saved(page)
    settings = settings_of(image)
    assert (settings.prompt, settings.negative_prompt, settings.seed) == ("a red fox (sitting:1.2)", "blue, 青", SEED)
    assert settings.scheduler_options == {"timestep_spacing": "trailing"}
    again = TextToImage.load(package, device="cpu")(**settings.arguments()).images[0]
    assert image.tobytes() == again.tobytes()

    file = tmp_path / "fox.png"
    again.save(file)
    page.locator("#defaults").click()
    expect(page.locator("#seed")).to_have_value("")
    page.locator("#settings-file").set_input_files(file)
    expect(page.locator("#seed")).to_have_value(str(SEED))
    values = {
        name: page.locator(f"#{name}").input_value()
        for name in ("prompt", "negative_prompt", "guidance_scale", "width")
    }
    assert values == {"prompt": settings.prompt, "negative_prompt": "blue, 青", "guidance_scale": "3.5", "width": "64"}
    draw(page)
    assert saved(page).tobytes() == image.tobytes()


def test_a_click_before_the_defaults_are_known_draws_nothing(modules: "Modules", server: Process) -> None:
    held: list[Route] = []
    with open_page(modules.browser, server.url, path="/docs", ready=False) as page:
        page.route("**/v1/models", lambda route: held.append(route))
        page.goto(server.url)
        page.locator("#prompt").fill("a fox")
        expect(page.locator("#draw")).to_be_disabled()
        expect(page.locator("#num_inference_steps")).to_be_disabled()
        page.keyboard.press("Control+Enter")
        for route in held:
            route.continue_()
        wait_until_ready(page)
        expect(page.locator("#num_inference_steps")).to_have_value("50")
        expect(page.locator("#prompt")).to_have_value("a fox")
        expect(page.locator("#jobs article")).to_have_count(0)


def test_progress_previews_cancel_and_several_jobs(page: Page) -> None:
    choose(page, "slow")
    fill(page, prompt="a fox", num_inference_steps=300)
    page.locator("#draw").click()
    page.locator("#draw").click()
    expect(page.locator("#jobs article")).to_have_count(2)
    expect(page.locator("#jobs article").nth(0)).to_contain_text("left")
    expect(page.locator("#jobs article").nth(1)).to_contain_text("Next in the queue")
    page.locator("#jobs article img:visible").first.wait_for()
    page.keyboard.press("Escape")
    expect(page.locator("#jobs article")).to_have_count(0)
    expect(page.locator("#cancel")).to_be_disabled()
    expect(page.locator("#shown")).to_contain_text("Images appear here")


def test_seeds_and_the_history_survive_a_reload(page: Page) -> None:
    fill(page, prompt="a red fox", n=2, **FAST)
    page.locator("#seed_mode").select_option("next")
    fill(page, seed=7)
    draw(page, 2)
    expect(page.locator("#seed")).to_have_value("9")
    fill(page, prompt="an owl", n=1)
    draw(page)
    page.reload()
    wait_until_ready(page)
    expect(page.locator("#prompt")).to_have_value("an owl")
    expect(page.locator("#seed")).to_have_value("10")
    thumbnails = page.locator("#thumbnails button")
    expect(thumbnails).to_have_count(3)
    fill(page, search="FOX 8")
    expect(thumbnails).to_have_count(1)
    thumbnails.first.click()
    expect(page.locator("large-view").get_by_role("status")).to_contain_text("seed 8")
    act(page, "Delete")
    expect(thumbnails).to_have_count(0)
    fill(page, search="")
    expect(thumbnails).to_have_count(2)
    thumbnails.first.focus()
    page.keyboard.press("ArrowRight")
    expect(thumbnails.nth(1)).to_be_focused()
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#clear").click()
    expect(thumbnails).to_have_count(0)


def test_image_to_image_and_a_painted_mask(page: Page, package: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    example_image().save(start)
    fill(page, prompt="a red fox", num_inference_steps=4, seed=3)
    page.locator("#start summary").click()
    page.locator("#file").set_input_files(start)
    page.locator("#painter .stage").wait_for()
    fill(page, strength=0.75, width=example_image().width, height=example_image().height)
    draw(page)
    whole = saved(page)
    arguments: dict[str, Any] = {"num_inference_steps": 4, "seed": 3, "strength": 0.75}
    pipe = TextToImage.load(package, device="cpu")
    assert whole.tobytes() == pipe("a red fox", image=example_image(), **arguments).images[0].tobytes()
    page.locator("#painter .stage").scroll_into_view_if_needed()
    box = page.locator("#painter .stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 20, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    draw(page)
    masked, original = saved(page), np.asarray(example_image()).astype(int)
    corner = abs(np.asarray(masked).astype(int) - original)[:16, :16].mean()
    assert corner < abs(np.asarray(whole).astype(int) - original)[:16, :16].mean()


def test_upscale_start_compare_and_grid(page: Page) -> None:
    fill(page, prompt="a red fox", n=2, seed=5, **FAST)
    draw(page, 2)
    for index, word in ((0, None), (1, "Seed 5")):
        page.locator("#shown .image").nth(index).click()
        act(page, "Compare")
        if word is None:
            page.keyboard.press("Escape")
    expect(page.locator("#dialog-compare image-compare")).to_contain_text("Seed 5")
    page.locator("#dialog-compare").get_by_role("button", name="Close").click()
    act(page, "Upscale")
    expect(page.locator("#shown img")).to_have_count(1)
    image = saved(page)
    assert (image.size, settings_of(image).upscale, settings_of(image).seed) == ((128, 128), 2, 6)
    page.locator("#shown .image").click()
    act(page, "Variations")
    page.locator("#dialog-variations").get_by_role("button", name="Draw four").click()
    expect(page.locator("#shown img")).to_have_count(4)
    variation = settings_of(saved(page, 3))
    assert (variation.seed, variation.variation_strength) == (6, 0.2)
    page.locator("#shown .image").first.click()
    act(page, "Use as start")
    page.locator("#painter .stage").wait_for()
    page.locator("#remove").click()
    page.locator("#grid summary").click()
    grid = page.locator("xy-grid")
    grid.get_by_label("Columns: setting").select_option("num_inference_steps")
    grid.get_by_label("Columns: values").fill("1, 2")
    grid.get_by_label("Rows: setting").select_option("scheduler")
    grid.get_by_label("Rows: values").fill("euler, ddim")
    grid.get_by_role("button", name="Draw the grid").click()
    expect(grid.locator("img")).to_have_count(4, timeout=20_000)


def test_settings_are_shared_by_a_link(page: Page, server: Process) -> None:
    fill(page, prompt="a fox & an owl", seed=SEED, **FAST)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#share").click()
    expect(page.locator("#notices")).to_contain_text("copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{server.url}/#prompt=")
    page.evaluate("sessionStorage.clear()")
    page.goto("about:blank")
    page.goto(link)
    wait_until_ready(page)
    expect(page.locator("#seed")).to_have_value(str(SEED))
    expect(page.locator("#prompt")).to_have_value("a fox & an owl")
    assert page.url == f"{server.url}/"


def test_a_dropped_image_gives_its_settings_or_the_start(page: Page) -> None:
    drop = """async (place) => {
        const image = new OffscreenCanvas(64, 64); image.getContext("2d").fillRect(0, 0, 64, 64);
        const files = new DataTransfer();
        files.items.add(new File([await image.convertToBlob()], "a.png", {type: "image/png"}));
        place.dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true}));
    }"""
    page.locator("body").evaluate(drop)
    expect(page.locator("#drop-settings")).to_be_disabled()
    expect(page.locator("#dialog-drop")).to_contain_text("no settings")
    page.locator("#drop-start").click()
    page.locator("#painter .stage").wait_for()


def test_errors_are_shown_at_their_field(page: Page) -> None:
    page.locator("#draw").click()
    expect(page.locator("#field-error")).to_have_text("Write a prompt first.")
    expect(page.locator("#prompt")).to_be_focused()
    fill(page, prompt="a fox", **FAST | {"width": 8_000, "height": 8_000})
    page.locator("#draw").click()
    expect(page.locator("#field-error")).to_contain_text("64000000 pixels")
    expect(page.locator("#width")).to_be_focused()


def test_weights_of_words_by_keys(page: Page) -> None:
    page.locator("#prompt").fill("a red fox")
    for key, text in (("ArrowUp", "a red (fox:1.1)"), ("ArrowUp", "a red (fox:1.2)"), ("ArrowDown", "a red (fox:1.1)")):
        page.keyboard.press(f"Control+{key}")
        expect(page.locator("#prompt")).to_have_value(text)
    page.keyboard.press("Control+ArrowDown")
    expect(page.locator("#prompt")).to_have_value("a red fox")


@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=["phone"])
def test_on_a_phone_progress_is_in_view_at_once(page: Page) -> None:
    choose(page, "slow")
    fill(page, prompt="a fox", num_inference_steps=200)
    page.locator("#draw").tap()
    expect(page.locator("#jobs article progress")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#cancel").tap()


def test_a_full_queue_is_waited_for(page: Page) -> None:
    """429 with Retry-After is answered once, then the service."""
    refusals = [{"status": 429, "headers": {"Retry-After": "1"}, "json": {"error": {"message": "the queue is full"}}}]
    page.route(
        "**/v1/images/generations",
        lambda route: route.fulfill(**refusals.pop()) if refusals else route.continue_(),
    )
    fill(page, prompt="a fox", **FAST)
    page.locator("#draw").click()
    expect(page.locator("#jobs article")).to_contain_text("The queue is full")
    page.locator("#shown img").wait_for()


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 2560, "height": 1300}, "reduced_motion": "reduce"}], indirect=True
)
def test_on_a_large_screen_without_motion(page: Page) -> None:
    fill(page, prompt="a fox", **FAST)
    draw(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 2560
    assert page.evaluate("document.getAnimations().length") == 0


def test_by_keyboard_alone(page: Page) -> None:
    page.locator("#prompt").focus()
    page.keyboard.type("a fox")
    for _ in range(3):  # Draw, Cancel is disabled, negative prompt, steps
        page.keyboard.press("Tab")
    expect(page.locator("#num_inference_steps")).to_be_focused()
    page.keyboard.type("2")
    page.keyboard.press("Control+Enter")
    page.locator("#shown .image").wait_for()
    page.locator("#shown .image").focus()
    page.keyboard.press("Enter")
    expect(page.locator("large-view").get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#shown .image")).to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("#dialog-help")).to_be_visible()


@pytest.mark.parametrize(
    "page",
    [AXE | device | {"color_scheme": colours} for device in ({}, PHONE) for colours in ("light", "dark")],
    indirect=True,
    ids=["desktop-light", "desktop-dark", "phone-light", "phone-dark"],
)
def test_axe_finds_nothing_serious(page: Page) -> None:
    from axe_playwright_python.sync_playwright import Axe

    def check() -> None:
        found = Axe().run(page).response["violations"]
        assert [
            (each["id"], [node["html"] for node in each["nodes"]])
            for each in found
            if each["impact"] in ("serious", "critical")
        ] == []

    fill(page, prompt="a fox", **FAST)
    for summary in page.locator("summary").all():
        if summary.is_visible():
            summary.click()
    check()
    draw(page)
    page.locator("#draw").click()
    check()
    for name in ("help", "key", "drop", "variations", "compare"):
        page.evaluate("id => document.getElementById(id).showModal()", f"dialog-{name}")
        check()
        page.keyboard.press("Escape")
    page.locator("#shown .image").first.click()
    check()
    act(page, "Use as start")
    page.locator("#painter .stage").wait_for()
    check()


def test_the_documentation_of_the_api_works_offline(page: Page, server: Process) -> None:
    page.goto(f"{server.url}/docs")
    expect(page.get_by_text("/v1/images/generations", exact=True)).to_be_visible()


def test_no_setting_that_a_model_cannot_use(page: Page, server: Process) -> None:
    expect(page.locator("#prompt_2")).to_be_hidden()
    expect(page.locator("#image_guidance_scale")).to_be_hidden()
    described = page.evaluate("async () => (await fetch('/v1/models')).json()")
    assert json.dumps(described).count('"fingerprint"') == 2
