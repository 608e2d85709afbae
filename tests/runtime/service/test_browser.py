"""Tests of the page in a real browser: generation, progress, and settings restored from an image."""

import io
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.images import example_image
from triptych.export import export, exporter
from triptych.runtime import TextToImage
from triptych.runtime.image.pixels import SETTINGS_KEY
from triptych.runtime.image.settings import Settings
from triptych.runtime.package.graphs import PREVIEW_DECODER

from ...export.components.test_tiny_autoencoder import make_tiny
from .serving import Process, process

STEPS = 150
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MILLISECONDS = 20_000  # timeout of each browser action


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium on the path: none of {', '.join(NAMES)}")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def previewing(checkpoint: Path, exported_package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported package, whose steps take long enough to watch, without its manifest, with a preview decoder."""
    folder, whole = tmp_path_factory.mktemp("preview"), tmp_path_factory.mktemp("previewing")
    every = exporter.components_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "components_of", lambda opened: {PREVIEW_DECODER: every(opened)[PREVIEW_DECODER]})
        alone = export(str(checkpoint), folder / "package", preview_decoder=make_tiny(folder / "tiny"))
    for entry in (*exported_package.iterdir(), alone / PREVIEW_DECODER):
        if entry.name != "triptych.json":
            (whole / entry.name).symlink_to(entry)
    return whole


@pytest.fixture(scope="module")
def server(previewing: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with process(tmp_path_factory.mktemp("server") / "log", previewing, "--ui", "--max-steps", "1000") as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: Process) -> Iterator[Page]:
    """An open page that is ready; teardown checks that all its requests went to the service."""
    urls: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    context.set_default_timeout(MILLISECONDS)
    context.on("request", lambda request: urls.append(request.url))
    opened = context.new_page()
    opened.goto(server.url)
    ready(opened)
    yield opened
    context.close()
    hosts = {urlsplit(url).netloc for url in urls if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(server.url).netloc}


def ready(page: Page) -> None:
    """Wait until the controls have the defaults of the model."""
    expect(page.locator("#scheduler input")).to_have_value("PNDM (default)", timeout=MILLISECONDS)


def fill(page: Page, **values: object) -> None:
    for name, value in values.items():
        page.locator(f"#{name} :is(textarea, input:not([type=range]))").first.fill(str(value))


def value(page: Page, name: str) -> str:
    return page.locator(f"#{name} :is(textarea, input:not([type=range]))").first.input_value()


def generate(page: Page) -> set[str]:
    """Generate images and wait for them; sources of the previews shown meanwhile."""
    seen: set[str] = set()
    sources, gallery = "found => found.map(each => each.src)", page.locator("#gallery img")
    old = gallery.evaluate_all(sources)
    page.locator("#make").click()
    deadline = time.monotonic() + MILLISECONDS / 1000
    while gallery.evaluate_all(sources) in (old, []):
        assert time.monotonic() < deadline
        seen.update(page.locator("#live img").evaluate_all(sources))
        time.sleep(0.02)
    gallery.first.wait_for()
    return seen


def first_image(page: Page) -> Image.Image:
    """First image of the gallery, as a browser saves it."""
    source = page.locator("#gallery img").first.get_attribute("src")
    assert source is not None
    return Image.open(io.BytesIO(httpx2.get(source).content))


def settings_of(image: Image.Image) -> Settings:
    return Settings.from_json(image.info[SETTINGS_KEY])


def metric(server: Process, name: str) -> float:
    lines = httpx2.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


def test_the_documentation_of_the_api_works_offline(page: Page, server: Process) -> None:
    """The `page` fixture checks the hosts of all requests."""
    page.goto(f"{server.url}/docs")
    expect(page.get_by_text("/v1/images/generations", exact=True)).to_be_visible()


def test_an_image_has_previews_and_its_settings_can_be_restored(page: Page, previewing: Path, tmp_path: Path) -> None:
    fill(page, prompt="a red fox (sitting:1.2)", negative="blue — 青", steps=STEPS, guidance=3.5, seed=2**63 + 1)
    page.locator("#draw input").uncheck()
    fill(page, size="96x64")
    page.keyboard.press("Enter")
    assert len(generate(page)) >= 2
    image = first_image(page)
    settings = settings_of(image)
    assert (settings.prompt, settings.negative_prompt) == ("a red fox (sitting:1.2)", "blue — 青")
    assert (settings.seed, settings.num_inference_steps, settings.guidance_scale) == (2**63 + 1, STEPS, 3.5)
    assert image.size == (96, 64)
    again = TextToImage.load(previewing, device="cpu")(**settings.arguments()).images[0]
    assert image.tobytes() == again.tobytes()

    saved = tmp_path / "saved.png"
    saved.write_bytes(httpx2.get(str(page.locator("#gallery img").first.get_attribute("src"))).content)
    page.reload()
    ready(page)
    assert value(page, "prompt") == ""
    page.locator("#dropped input[type=file]").set_input_files(saved)
    expect(page.locator("#prompt textarea")).to_have_value("a red fox (sitting:1.2)", timeout=MILLISECONDS)
    restored = {name: value(page, name) for name in ("negative", "steps", "guidance", "seed", "size", "scheduler")}
    assert restored == {
        "negative": "blue — 青",
        "steps": str(STEPS),
        "guidance": "3.5",
        "seed": str(2**63 + 1),
        "size": "96x64",
        "scheduler": "PNDM (default)",
    }
    assert not page.locator("#draw input").is_checked()
    generate(page)
    assert first_image(page).tobytes() == image.tobytes()


def test_images_have_seeds_and_a_history(page: Page) -> None:
    fill(page, prompt="a red fox", steps=2, pictures=2)
    generate(page)
    captions = page.locator("#gallery .caption-label").all_inner_texts()
    first = int(value(page, "seed"))
    assert captions == [f"seed {first}", f"seed {first + 1}"]
    fill(page, prompt="a blue boat", pictures=1)
    generate(page)
    history = page.locator("#history .caption-label")
    expect(history).to_have_count(3, timeout=MILLISECONDS)
    assert history.all_inner_texts()[1:] == [str(first), str(first + 1)]
    assert history.first.inner_text() not in (str(first), str(first + 1)), "a new random seed"
    page.locator("#history button:has(img)").nth(2).click()
    expect(page.locator("#prompt textarea")).to_have_value("a red fox", timeout=MILLISECONDS)
    assert (value(page, "seed"), value(page, "pictures")) == (str(first + 1), "1")
    assert not page.locator("#draw input").is_checked()


def test_image_to_image_and_inpainting(page: Page, previewing: Path, tmp_path: Path) -> None:
    """Image-to-image equals the pipeline; inpainting keeps the image outside the mask."""
    start = tmp_path / "start.png"
    example_image().save(start)
    page.locator("#begin button").first.click()
    page.locator("#editor canvas").first.wait_for()
    page.wait_for_timeout(500)  # the editor gives no sign when it is ready
    page.locator("#editor input[type=file]").first.set_input_files(start)
    page.get_by_label("Brush Size").first.wait_for()  # shown when the image is loaded
    page.wait_for_timeout(500)
    fill(page, prompt="a red fox", steps=4, strength=0.75)
    generate(page)
    whole = first_image(page)
    settings = settings_of(whole)
    assert settings.strength == 0.75
    pipe = TextToImage.load(previewing, device="cpu")
    arguments: dict[str, Any] = {"strength": 0.75, "num_inference_steps": 4, "seed": settings.seed}
    expected = pipe("a red fox", image=example_image(), **arguments).images[0]
    assert whole.tobytes() == expected.tobytes()

    page.locator("#editor").scroll_into_view_if_needed()
    box = page.locator("#editor canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y, steps=8)
    page.mouse.up()
    page.wait_for_timeout(500)
    page.locator("#draw input").uncheck()
    generate(page)
    middle = Image.new("L", whole.size)
    middle.paste(255, (48, 48, 112, 80))
    masked = pipe("a red fox", image=example_image(), mask_image=middle, **arguments)
    pixels, near, far = (
        np.asarray(image).astype(int)[:16, :16] for image in (first_image(page), masked.images[0], whole)
    )
    assert abs(pixels - near).mean() * 4 < abs(pixels - far).mean(), "pixels outside the mask"


def test_errors_are_shown_and_abandoned_images_are_cancelled(page: Page, server: Process) -> None:
    fill(page, prompt="a red fox", size="65x64")
    page.keyboard.press("Enter")
    page.locator("#make").click()
    expect(page.locator(".toast-body")).to_contain_text("multiple of 8", timeout=MILLISECONDS)
    fill(page, size="128x128", steps=900)
    page.keyboard.press("Enter")
    for leave in (page.locator("#stop").click, page.close):
        before = metric(server, "triptych_cancelled_total")
        page.locator("#make").click()
        page.locator("#live img").first.wait_for()
        leave()
        deadline = time.monotonic() + 10
        while metric(server, "triptych_cancelled_total") == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.slow  # starts another service
def test_an_open_page_does_not_delay_shutdown(browser: Browser, package: Path, tmp_path: Path) -> None:
    with process(tmp_path / "log", package, "--ui") as running:
        opened = browser.new_page()
        opened.goto(running.url)
        ready(opened)
        fill(opened, prompt="a red fox", steps=20, size="128x128")
        opened.locator("#make").click()
        opened.locator("#live").wait_for(timeout=MILLISECONDS)
        running.tell(signal.SIGTERM)
        opened.locator("#gallery img").first.wait_for(timeout=MILLISECONDS)
        assert running.status() == 0
        opened.close()


@pytest.mark.slow  # starts another service
def test_the_browser_sends_the_key_as_a_password(browser: Browser, package: Path, tmp_path: Path) -> None:
    with process(tmp_path / "log", package, "--ui", "--api-key", "geheim") as running:
        for headers in ({}, {"Authorization": "Basic bWU6b3RoZXI="}):  # no password, and me:other
            answer = httpx2.get(running.url, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        context = browser.new_context(http_credentials={"username": "me", "password": "geheim"})
        opened = context.new_page()
        opened.goto(running.url)
        ready(opened)
        fill(opened, prompt="a red fox", steps=2)
        opened.locator("#make").click()
        opened.locator("#gallery img").first.wait_for(timeout=MILLISECONDS)
        context.close()
    assert "geheim" not in (tmp_path / "log").read_text()
