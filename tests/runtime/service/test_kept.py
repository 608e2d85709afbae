"""Images at URLs: kept for a time and within a limit of bytes, under names that nobody can guess."""

import asyncio
import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.command_line import run
from tests.support.images import example_image
from triptych.runtime.service.errors import ServiceError
from triptych.runtime.service.http.kept import KeptImages
from triptych.runtime.service.limits import KEPT_BYTES

from .serving import BODY, EDITS, GENERATIONS, Service, png, service
from .test_api import error_of, events_of

LINK = BODY | {"response_format": "url"}
MINUTE = 60.0


@pytest.fixture(scope="module")
def keeping(package: Path) -> Iterator[Service]:
    with service(package, kept=KeptImages(MINUTE), key="geheim") as running:
        running.client.headers["Authorization"] = "Bearer geheim"
        yield running


def file_of(running: Service, url: str) -> httpx2.Response:
    """The file of a URL, asked for without a key."""
    return running.client.get(url, headers={"Authorization": ""})


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_a_url_gives_the_same_file_as_base64_and_needs_no_key(keeping: Service, output_format: str) -> None:
    fields = {"n": 2, "output_format": output_format}
    inline = keeping.client.post(GENERATIONS, json=BODY | fields).json()["data"]
    linked = keeping.client.post(GENERATIONS, json=LINK | fields, headers={"Host": "images.example:8080"}).json()[
        "data"
    ]
    assert [image.keys() for image in linked] == [{"url", "seed"}] * 2
    assert [image["seed"] for image in linked] == [7, 8]
    for image, expected in zip(linked, inline, strict=True):
        pattern = rf"http://images\.example:8080/v1/images/files/[0-9a-f]{{32}}\.{output_format}"
        assert re.fullmatch(pattern, image["url"])
        answer = file_of(keeping, image["url"])
        assert answer.content == base64.b64decode(expected["b64_json"])
        assert answer.headers["Content-Type"] == f"image/{output_format}"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        age = re.fullmatch(r"private, max-age=(\d+)", answer.headers["Cache-Control"])
        assert age is not None
        assert 0 < int(age[1]) <= MINUTE


def test_edits_have_urls_too(keeping: Service) -> None:
    files = {"image": ("fox.png", png(example_image(64, 64)), "image/png")}
    (image,) = keeping.client.post(EDITS, data=LINK, files=files).json()["data"]
    assert file_of(keeping, image["url"]).status_code == 200


def test_a_stream_has_the_url_of_the_image_and_previews_in_base64(keeping: Service) -> None:
    body = LINK | {"stream": True, "partial_images": 1, "num_inference_steps": 6}
    preview, completed = events_of(keeping.client.post(GENERATIONS, json=body).text)
    assert "b64_json" in preview
    assert "url" not in preview
    assert "b64_json" not in completed
    assert completed["seed"] == 7
    assert file_of(keeping, completed["url"]).status_code == 200


def test_a_service_that_keeps_no_images_says_which_option_is_missing(served: Service) -> None:
    error = error_of(served.client.post(GENERATIONS, json=LINK), 400)
    assert error["param"] == "response_format"
    assert "--keep-images" in error["message"]
    assert error_of(served.client.get("/v1/images/files/" + "0" * 32 + ".png"), 404)


def test_an_image_is_gone_after_its_time(keeping: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    (image,) = keeping.client.post(GENERATIONS, json=LINK).json()["data"]
    now = time.monotonic()
    monkeypatch.setattr("triptych.runtime.service.http.kept.time.monotonic", lambda: now + MINUTE + 1)
    error = error_of(file_of(keeping, image["url"]), 404)
    assert (error["code"], error["type"]) == ("image_not_found", "invalid_request_error")
    assert "60 s" in error["message"]


@pytest.mark.parametrize("name", ["", "x.png", "..%2Fgenerations", "../../models", "a/b", "\u20ac.png"])
def test_other_names_are_not_found(keeping: Service, name: str) -> None:
    url = f"http://localhost/v1/images/files/{name}"
    assert keeping.client.get(url).status_code in (200, 404)
    assert file_of(keeping, url).status_code in (401, 404), "nothing else is public"


def test_only_the_name_replaces_the_key(package: Path) -> None:
    """Without a key, Host and Origin are checked as for every request."""
    with service(package, kept=KeptImages(MINUTE)) as running:
        (image,) = running.client.post(GENERATIONS, json=LINK).json()["data"]
        path = httpx2.URL(image["url"]).path
        assert running.client.get(path).status_code == 200
        for headers, code in (({"Host": "evil.example"}, "wrong_host"), ({"Origin": "http://evil"}, "wrong_origin")):
            assert error_of(running.client.get(path, headers=headers), 403)["code"] == code


@settings(deadline=None, database=None)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=20))
def test_the_newest_images_within_the_limit_are_kept(sizes: list[int]) -> None:
    limit = 150

    async def names_and_found() -> list[bool]:
        kept = KeptImages(MINUTE, limit)
        names = [kept.add(b"x" * size, "png") for size in sizes]
        assert len({*names}) == len(names)
        return [_found(kept, name) for name in names]

    found = asyncio.run(names_and_found())
    fitting = [sum(sizes[place:]) <= limit for place in range(len(sizes))]
    assert found == fitting


def test_the_memory_of_an_image_is_free_after_its_time_without_a_request() -> None:
    async def left() -> int:
        kept = KeptImages(0.01)
        kept.add(b"image", "png")
        await asyncio.sleep(0.1)
        return len(kept._images)

    assert asyncio.run(left()) == 0


def test_an_image_that_is_larger_than_the_limit_is_kept_alone() -> None:
    async def found() -> list[bool]:
        kept = KeptImages(MINUTE, 10)
        names = [kept.add(b"x" * size, "png") for size in (5, 20)]
        return [_found(kept, name) for name in names]

    assert asyncio.run(found()) == [False, True]


def test_the_help_states_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run("serve", "--help", capsys=capsys)
    assert f"{KEPT_BYTES >> 20} MiB" in " ".join(out.split())


def _found(kept: KeptImages, name: str) -> bool:
    try:
        kept.response(name)
    except ServiceError as error:
        return error.status != 404
    return True


def test_the_description_has_the_files_of_images_only_where_they_are_kept(keeping: Service, served: Service) -> None:
    path = "/v1/images/files/{name}"
    described: dict[str, Any] = keeping.app.openapi()["paths"]
    assert described[path]["get"]["responses"]["200"]["content"].keys() == {"image/png", "image/jpeg", "image/webp"}
    assert "security" not in described[path]["get"]
    assert path not in served.app.openapi()["paths"]
