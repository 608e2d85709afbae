"""The page without a browser: where it is, what it refuses, and what its form says."""

import asyncio
import base64
import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError
from triptych.runtime.request import Request
from triptych.runtime.service.errors import ServiceError
from triptych.runtime.service.page.form import AUTO, Form, beginning_of, offer_of, restored
from triptych.runtime.service.page.page import Page
from triptych.runtime.service.page.progress import Making, watched

from .serving import CALLER, GENERATIONS, LIMITS, Service, png, refused_without, service

KEY = "geheim: 鍵"
FORM = Form("a red fox", "", 2, 7.5, "7", False, "", AUTO, 1)


@contextlib.contextmanager
def asking(running: Service, *, key: str | None = None, **changes: Any) -> Iterator[TestClient]:
    """Who asks the service and its page."""
    limits = dataclasses.replace(LIMITS, **changes)
    page = Page(running.app, running.models, limits, running.metrics, key=key, local=True)
    with contextlib.closing(page), TestClient(page, base_url="http://localhost", client=CALLER) as client:
        yield client


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def test_paths_of_the_api_are_the_apis(served: Service) -> None:
    with asking(served) as client:
        assert "Triptych" in client.get("/").text
        for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/models", "/v1/other"):
            mine, alone = client.get(path), served.client.get(path)
            assert (mine.status_code, mine.headers["content-type"]) == (
                alone.status_code,
                alone.headers["content-type"],
            )
        assert client.get(GENERATIONS).status_code == served.client.get(GENERATIONS).status_code == 405


def test_the_page_asks_for_a_key_as_a_password_and_the_api_takes_none(package: Path) -> None:
    with service(package, key=KEY, load=False) as running, asking(running, key=KEY) as client:
        for given in ({}, basic("me", "other"), basic(KEY, ""), {"Authorization": "Basic ?"}):
            for path in ("/", "/config", "/gradio_api/info", "/theme.css"):
                answer = client.get(path, headers=given)
                assert (answer.status_code, answer.headers["WWW-Authenticate"][:6]) == (401, "Basic ")
        assert client.get("/", headers=basic("anybody", KEY)).status_code == 200
        assert client.get("/", headers={b"Authorization": f"Bearer {KEY}".encode()}).status_code == 200
        assert client.get("/v1/models", headers=basic("anybody", KEY)).status_code == 401
        for origin, status in (("http://localhost", 200), ("http://elsewhere.example", 401)):
            sent = client.post(
                "/gradio_api/upload", files={"files": b"x"}, headers={**basic("me", KEY), "Origin": origin}
            )
            assert sent.status_code == status


def test_the_page_is_guarded_as_the_api_is(served: Service) -> None:
    with asking(served) as client:
        assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 403
        assert client.get("/", headers={"Origin": "http://elsewhere.example"}).status_code == 403
        assert client.post("/gradio_api/upload", files={"files": b"x" * LIMITS.body}).status_code == 413
        assert client.post("/gradio_api/queue/join", content=b"x" * (1 << 21)).status_code == 413
        for path in (__file__, "/etc/passwd", "../../etc/passwd"):
            assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)
        assert client.get("/gradio_api/proxy=http://localhost:1/").status_code in (400, 404)


def test_what_it_kept_is_deleted_at_the_end(served: Service) -> None:
    page = Page(served.app, served.models, LIMITS, served.metrics, key=None, local=True)
    with TestClient(page, base_url="http://localhost", client=CALLER) as client:
        (kept,) = client.post("/gradio_api/upload", files={"files": ("fox.png", b"x")}).json()
    assert Path(kept).is_relative_to(page.files)
    page.close()
    assert not page.files.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": " "}, "no prompt"),
        ({"seed": "many"}, "seed: "),
        ({"seed": "-1"}, "seed: "),
        ({"size": "large"}, "size: "),
        ({"steps": 2.5}, "num_inference_steps: "),
        ({"pictures": 0}, "n: "),
    ],
)
def test_a_form_that_cannot_be_read_says_where(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        dataclasses.replace(FORM, **changes).asked()


def test_a_seed_is_drawn_where_that_is_asked_for_or_there_is_none() -> None:
    assert FORM.asked().seed == 7
    assert dataclasses.replace(FORM, draw=True).asked().seed is None
    assert dataclasses.replace(FORM, seed="").asked().seed is None


def test_what_is_offered_is_what_the_package_takes(pipe: TextToImage) -> None:
    offer = offer_of(pipe, LIMITS)
    assert (offer.form.steps, offer.form.guidance, offer.strength) == (50, 7.5, 0.8)
    assert offer.begins_from_pictures
    assert offer.schedulers[0] == ("PNDM (own)", "")
    own = "{1}x{0}".format(*(side * pipe.model.latents.factor for side in pipe.model.latents.size))
    assert offer.sizes[:2] == [AUTO, own]
    for size in offer.sizes[1:]:
        width, height = map(int, size.split("x"))
        assert width * height <= LIMITS.pixels
        assert pipe.model.latent_size_for(height, width)


def test_a_static_package_offers_its_own_size_alone(static_package: Path) -> None:
    pipe = TextToImage.load(static_package, device="cpu")
    assert offer_of(pipe, LIMITS).sizes == [AUTO, "112x144"]


def test_a_picture_gives_the_form_back_and_says_what_that_lacks(pipe: TextToImage, tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    said: dict[str, Any] = {"num_inference_steps": 2, "seed": 5, "height": 64, "width": 96}
    pipe("a red fox", negative_prompt="blue", scheduler="euler", **said).images[0].save(path)
    form, lacking = restored(str(path), pipe)
    assert form == Form("a red fox", "blue", 2, 7.5, "5", False, "euler", "96x64", 1)
    assert lacking == []
    pipe("a red fox", guidance_scale=[7.0, 3.0], scheduler="ddim", eta=0.5, **said).images[0].save(path)
    form, lacking = restored(str(path), pipe)
    assert form.guidance == 7.0
    assert lacking == ["This page has no place for its eta, guidance of each step."]
    Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(ArgumentError, match=r"^fox\.png carries no settings"):
        restored(str(path), pipe)


def test_an_editor_is_a_picture_and_a_mask_or_nothing() -> None:
    empty = Image.new("RGBA", (32, 16), (0, 0, 0, 0))
    nothing: list[Any] = [None, {"background": None, "layers": []}, {"background": empty, "layers": [empty]}]
    for editor in nothing:
        assert beginning_of(editor, 0.5, LIMITS) == {}
    drawn = Image.new("RGBA", (32, 16), "orange")
    found = beginning_of({"background": drawn, "layers": [empty]}, 0.5, LIMITS)
    assert found.keys() == {"image", "strength"}
    paint = empty.copy()
    paint.paste((255, 255, 255, 90), (4, 4, 8, 8))
    found = beginning_of({"background": drawn, "layers": [empty, paint]}, 0.5, LIMITS)
    assert found["mask_image"].getbbox() == (4, 4, 8, 8)
    assert found["mask_image"].getextrema() == (0, 255)
    large = Image.new("RGBA", (512, 512), "orange")
    with pytest.raises(ServiceError, match="512x512; allowed"):
        beginning_of({"background": large, "layers": []}, 0.5, LIMITS)


def test_a_picture_with_too_many_pixels_is_not_unpacked(served: Service, tmp_path: Path) -> None:
    """Gradio opens what was sent before anybody is asked."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png(Image.new("1", (600, 600))))
    with asking(served), pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    assert Image.open(path).size == (600, 600)


def test_pictures_are_watched_and_are_those_of_the_pipeline(served: Service, pipe: TextToImage, package: Path) -> None:
    said: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 60, "height": 64, "width": 64, "seed": 7}
    batcher = served.models.queue(package.name)

    async def watch(timeout: float) -> tuple[list[int], list[Any]]:
        steps: list[int] = []
        async for states in watched(batcher, [Request(**said)], timeout):
            if not isinstance(states[0], Making):
                return steps, list(states)
            steps.append(states[0].step)
        raise AssertionError

    steps, (image,) = asyncio.run(watch(60))
    assert steps == sorted(steps)
    assert steps[0] == 0
    assert image.tobytes() == pipe(**said).images[0].tobytes()
    with pytest.raises(ServiceError, match="longer than"):
        asyncio.run(watch(0.05))


def test_without_gradio_it_is_one_line() -> None:
    line = refused_without("gradio", "serve", "package", "--ui")
    assert line.startswith("error: triptych serve --ui needs Gradio: pip install 'triptych[ui]'")


def test_without_ui_nothing_of_it_is_imported() -> None:
    script = "import sys, triptych.runtime.service.server; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert {"gradio", "triptych.runtime.service.page.page"}.isdisjoint(loaded)
