"""Tests of the page without a browser: paths, access, form and progress."""

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
from triptych.runtime.service.page.form import AUTO, Form, form_of, offer_of, start_of
from triptych.runtime.service.page.page import Page
from triptych.runtime.service.page.progress import Progress, progress_of

from .serving import CALLER, GENERATIONS, LIMITS, Service, png, refused_without, service

KEY = "geheim: 鍵"
FORM = Form("a red fox", "", 2, 7.5, "7", False, "", AUTO, 1)


@contextlib.contextmanager
def page_client(running: Service, *, key: str | None = None, **changes: Any) -> Iterator[TestClient]:
    """Client of the service and its page."""
    limits = dataclasses.replace(LIMITS, **changes)
    page = Page(running.app, running.models, limits, running.metrics, key=key, local=True)
    with contextlib.closing(page), TestClient(page, base_url="http://localhost", client=CALLER) as client:
        yield client


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def test_the_page_leaves_the_paths_of_the_api(served: Service) -> None:
    with page_client(served) as client:
        assert "Triptych" in client.get("/").text
        for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/models", "/v1/other"):
            actual, expected = client.get(path), served.client.get(path)
            assert (actual.status_code, actual.headers["content-type"]) == (
                expected.status_code,
                expected.headers["content-type"],
            )
        assert client.get(GENERATIONS).status_code == served.client.get(GENERATIONS).status_code == 405


def test_the_page_accepts_the_key_as_a_password_and_the_api_does_not(package: Path) -> None:
    with service(package, key=KEY, load=False) as running, page_client(running, key=KEY) as client:
        for headers in ({}, basic("me", "other"), basic(KEY, ""), {"Authorization": "Basic ?"}):
            for path in ("/", "/config", "/gradio_api/info", "/theme.css"):
                answer = client.get(path, headers=headers)
                assert (answer.status_code, answer.headers["WWW-Authenticate"][:6]) == (401, "Basic ")
        assert client.get("/", headers=basic("anybody", KEY)).status_code == 200
        assert client.get("/", headers={b"Authorization": f"Bearer {KEY}".encode()}).status_code == 200
        assert client.get("/v1/models", headers=basic("anybody", KEY)).status_code == 401
        for origin, status in (("http://localhost", 200), ("http://elsewhere.example", 401)):
            response = client.post(
                "/gradio_api/upload", files={"files": b"x"}, headers={**basic("me", KEY), "Origin": origin}
            )
            assert response.status_code == status


def test_the_page_has_the_access_checks_of_the_api(served: Service) -> None:
    with page_client(served) as client:
        assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 403
        assert client.get("/", headers={"Origin": "http://elsewhere.example"}).status_code == 403
        assert client.post("/gradio_api/upload", files={"files": b"x" * LIMITS.body}).status_code == 413
        assert client.post("/gradio_api/queue/join", content=b"x" * (1 << 21)).status_code == 413
        for path in (__file__, "/etc/passwd", "../../etc/passwd"):
            assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)
        assert client.get("/gradio_api/proxy=http://localhost:1/").status_code in (400, 404)


def test_uploads_are_deleted_when_the_page_closes(served: Service) -> None:
    page = Page(served.app, served.models, LIMITS, served.metrics, key=None, local=True)
    with TestClient(page, base_url="http://localhost", client=CALLER) as client:
        (uploaded,) = client.post("/gradio_api/upload", files={"files": ("fox.png", b"x")}).json()
    assert Path(uploaded).is_relative_to(page.files)
    page.close()
    assert not page.files.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"seed": "many"}, "seed: "),
        ({"seed": "-1"}, "seed: "),
        ({"size": "large"}, "size: "),
        ({"steps": 2.5}, "num_inference_steps: "),
        ({"images": 0}, "n: "),
    ],
)
def test_an_invalid_form_names_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        dataclasses.replace(FORM, **changes).generation()


def test_the_seed_is_random_if_requested_or_empty() -> None:
    assert FORM.generation().seed == 7
    assert dataclasses.replace(FORM, random_seed=True).generation().seed is None
    assert dataclasses.replace(FORM, seed="").generation().seed is None


def test_defaults_and_choices_fit_the_package(pipe: TextToImage) -> None:
    offer = offer_of(pipe, LIMITS)
    assert (offer.form.steps, offer.form.guidance, offer.strength) == (50, 7.5, 0.8)
    assert offer.image_to_image
    assert offer.schedulers[0] == ("PNDM (default)", "")
    default = "{1}x{0}".format(*(side * pipe.model.latents.factor for side in pipe.model.latents.size))
    assert offer.sizes[:2] == [AUTO, default]
    for size in offer.sizes[1:]:
        width, height = map(int, size.split("x"))
        assert width * height <= LIMITS.pixels
        assert pipe.model.latent_size_for(height, width)


def test_a_static_package_offers_only_its_size(static_package: Path) -> None:
    pipe = TextToImage.load(static_package, device="cpu")
    assert offer_of(pipe, LIMITS).sizes == [AUTO, "112x144"]


def test_the_settings_of_an_image_restore_the_form_with_notices(pipe: TextToImage, tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    arguments: dict[str, Any] = {"num_inference_steps": 2, "seed": 5, "height": 64, "width": 96}
    pipe("a red fox", negative_prompt="blue", scheduler="euler", **arguments).images[0].save(path)
    form, notices = form_of(str(path), pipe)
    assert form == Form("a red fox", "blue", 2, 7.5, "5", False, "euler", "96x64", 1)
    assert notices == []
    pipe("a red fox", guidance_scale=[7.0, 3.0], scheduler="ddim", eta=0.5, **arguments).images[0].save(path)
    form, notices = form_of(str(path), pipe)
    assert form.guidance == 7.0
    assert notices == ["The form has no field for these settings: eta, guidance of each step."]
    Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(ArgumentError, match=r"^fox\.png has no settings"):
        form_of(str(path), pipe)


def test_the_editor_gives_an_init_image_and_a_mask() -> None:
    empty = Image.new("RGBA", (32, 16), (0, 0, 0, 0))
    unfilled: list[Any] = [None, {"background": None, "layers": []}, {"background": empty, "layers": [empty]}]
    for editor in unfilled:
        assert start_of(editor, 0.5, LIMITS) == {}
    background = Image.new("RGBA", (32, 16), "orange")
    start = start_of({"background": background, "layers": [empty]}, 0.5, LIMITS)
    assert start.keys() == {"image", "strength"}
    paint = empty.copy()
    paint.paste((255, 255, 255, 90), (4, 4, 8, 8))
    start = start_of({"background": background, "layers": [empty, paint]}, 0.5, LIMITS)
    assert start["mask_image"].getbbox() == (4, 4, 8, 8)
    assert start["mask_image"].getextrema() == (0, 255)
    large = Image.new("RGBA", (512, 512), "orange")
    with pytest.raises(ServiceError, match="512x512; allowed"):
        start_of({"background": large, "layers": []}, 0.5, LIMITS)


def test_an_image_with_too_many_pixels_is_not_decoded(served: Service, tmp_path: Path) -> None:
    """Gradio decodes uploads before an event handler runs."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png(Image.new("1", (600, 600))))
    with page_client(served), pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    assert Image.open(path).size == (600, 600)


def test_progress_ends_with_the_images_of_the_pipeline(served: Service, pipe: TextToImage, package: Path) -> None:
    arguments: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 60, "height": 64, "width": 64, "seed": 7}
    batcher = served.models.queue(package.name)

    async def follow(timeout: float) -> tuple[list[int], list[Any]]:
        steps: list[int] = []
        async for states in progress_of(batcher, [Request(**arguments)], timeout):
            if not isinstance(states[0], Progress):
                return steps, list(states)
            steps.append(states[0].step)
        raise AssertionError

    steps, (image,) = asyncio.run(follow(60))
    assert steps == sorted(steps)
    assert steps[0] == 0
    assert image.tobytes() == pipe(**arguments).images[0].tobytes()
    with pytest.raises(ServiceError, match="longer than"):
        asyncio.run(follow(0.05))


def test_missing_gradio_is_an_error_of_one_line() -> None:
    line = refused_without("gradio", "serve", "package", "--ui")
    assert line.startswith("error: triptych serve --ui needs Gradio: pip install 'triptych[ui]'")


def test_the_page_is_imported_only_with_ui() -> None:
    script = "import sys, triptych.runtime.service.server; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert {"gradio", "triptych.runtime.service.page.page"}.isdisjoint(loaded)
