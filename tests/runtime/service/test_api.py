"""Routes of the HTTP API: responses, errors, and images equal to the pipeline's."""

import asyncio
import base64
import io
import json
import logging
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.support.images import example_image, mask
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.service.http.models import Models

from .serving import BODY, EDITS, GENERATIONS, LONG, Service, png, service

ARGUMENTS: dict[str, Any] = {"num_inference_steps": 2, "height": 64, "width": 64}
"""Arguments of the pipeline that are equal to BODY."""


def opened(data: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data["b64_json"])))


def error_of(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """Error of a response, which has the format of OpenAI's API."""
    assert answer.status_code == status, answer.text
    (name, error), *rest = answer.json().items()
    assert (name, rest) == ("error", [])
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    return dict(error)


def test_images_are_those_of_the_pipeline_and_have_their_seeds(served: Service, pipe: TextToImage) -> None:
    more = {"n": 2, "negative_prompt": "grey", "guidance_scale": 3.0, "scheduler": "euler_a"}
    answer = served.client.post(GENERATIONS, json=BODY | more).json()
    assert answer["size"] == "64x64"
    settings: dict[str, Any] = {name: value for name, value in more.items() if name != "n"}
    expected = pipe("a red fox", seed=7, num_images_per_prompt=2, **ARGUMENTS, **settings)
    for data, image, seed in zip(answer["data"], expected.images, expected.seeds, strict=True):
        np.testing.assert_array_equal(np.asarray(opened(data)), np.asarray(image))
        assert data["seed"] == seed
        assert json.loads(opened(data).info["triptych"])["seed"] == seed


def test_variations_have_one_seed_and_their_own_variation_seeds(served: Service, pipe: TextToImage) -> None:
    fields: dict[str, Any] = {"variation_seed": 3, "variation_strength": 0.2}
    data = served.client.post(GENERATIONS, json=BODY | fields | {"n": 2}).json()["data"]
    expected = pipe("a red fox", seed=7, num_images_per_prompt=2, **ARGUMENTS, **fields)
    for each, image, variation_seed in zip(data, expected.images, (3, 4), strict=True):
        np.testing.assert_array_equal(np.asarray(opened(each)), np.asarray(image))
        assert each["seed"] == 7
        assert json.loads(opened(each).info["triptych"])["variation_seed"] == variation_seed


MANY: dict[str, Any] = {
    "negative_prompt": "grey",
    "guidance_scale": [3.0, 5.0],
    "guidance_rescale": 0.5,
    "guidance_interval": [0.1, 30.0],
    "guidance_projection": [0.0, 15.0, -0.5],
    "scheduler": "euler",
    "sigmas": [8.0, 2.0, 0.0],
    "noise": "numpy",
}
"""Settings that are fields of a request and arguments of the pipeline."""


def test_settings_are_those_of_the_pipeline(served: Service, pipe: TextToImage) -> None:
    expected = pipe("a red fox", seed=7, height=64, width=64, **MANY).images[0]
    (plain,) = served.client.post(GENERATIONS, json=BODY).json()["data"]
    answer = served.client.post(GENERATIONS, json=BODY | MANY)
    assert answer.status_code == 200, answer.text
    (data,) = answer.json()["data"]
    np.testing.assert_array_equal(np.asarray(opened(data)), np.asarray(expected))
    assert data["b64_json"] != plain["b64_json"]


@pytest.mark.parametrize("repeated", [False, True], ids=["commas", "repeated fields"])
def test_settings_of_a_form_are_those_of_the_pipeline(served: Service, pipe: TextToImage, repeated: bool) -> None:
    image = example_image(64, 64)
    expected = pipe("a red fox", image=image, strength=1.0, seed=7, height=64, width=64, **MANY).images[0]
    form = {
        name: [str(part) for part in value] if repeated else ",".join(map(str, value))
        for name, value in MANY.items()
        if isinstance(value, list)
    }
    fields = BODY | MANY | form | {"strength": 1.0}
    answer = served.client.post(EDITS, data=fields, files={"image": ("fox.png", png(image), "image/png")})
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(np.asarray(opened(answer.json()["data"][0])), np.asarray(expected))


@pytest.mark.parametrize(
    "settings", [{"scheduler": "euler", "timesteps": "ays_sd15"}, {"scheduler": "ddim", "eta": 0.5}], ids=str
)
def test_a_grid_may_be_a_name_and_eta_a_number_in_json_and_in_a_form(
    served: Service, pipe: TextToImage, settings: dict[str, Any]
) -> None:
    expected = pipe("a red fox", seed=7, **ARGUMENTS | settings).images[0]
    answer = served.client.post(GENERATIONS, json=BODY | settings)
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(np.asarray(opened(answer.json()["data"][0])), np.asarray(expected))
    image = example_image(64, 64)
    expected = pipe("a red fox", image=image, strength=1.0, seed=7, **ARGUMENTS | settings).images[0]
    files = {"image": ("fox.png", png(image), "image/png")}
    answer = served.client.post(EDITS, data=BODY | settings | {"strength": 1.0}, files=files)
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(np.asarray(opened(answer.json()["data"][0])), np.asarray(expected))


def test_options_of_the_scheduler_are_an_object_and_in_a_form_its_text(served: Service, pipe: TextToImage) -> None:
    settings: dict[str, Any] = {"scheduler": "DPM++ 2M", "scheduler_options": {"use_karras_sigmas": True}}
    expected = pipe("a red fox", seed=7, **ARGUMENTS | settings).images[0]
    named = BODY | {"scheduler": "DPM++ 2M Karras"}
    for body in (BODY | settings, named):
        answer = served.client.post(GENERATIONS, json=body)
        assert answer.status_code == 200, answer.text
        np.testing.assert_array_equal(np.asarray(opened(answer.json()["data"][0])), np.asarray(expected))
    image = example_image(64, 64)
    expected = pipe("a red fox", image=image, strength=1.0, seed=7, **ARGUMENTS | settings).images[0]
    form = BODY | settings | {"scheduler_options": '{"use_karras_sigmas": true}', "strength": 1.0}
    answer = served.client.post(EDITS, data=form, files={"image": ("fox.png", png(image), "image/png")})
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(np.asarray(opened(answer.json()["data"][0])), np.asarray(expected))


def test_a_random_seed_reproduces_the_image(served: Service, tmp_path: Path) -> None:
    body = {name: value for name, value in BODY.items() if name != "seed"}
    (drawn,) = served.client.post(GENERATIONS, json=body).json()["data"]
    (again,) = served.client.post(GENERATIONS, json=BODY | {"seed": drawn["seed"]}).json()["data"]
    assert again["b64_json"] == drawn["b64_json"]
    file = tmp_path / "fox.png"
    file.write_bytes(base64.b64decode(drawn["b64_json"]))
    assert read_settings(file).prompt == BODY["prompt"]


def test_size_auto_is_the_default_size_of_the_model(served: Service) -> None:
    answer = served.client.post(GENERATIONS, json=BODY | {"size": "auto"}).json()
    assert answer["size"] == "128x128"
    assert opened(answer["data"][0]).size == (128, 128)


def test_concurrent_requests_share_a_call_and_have_the_same_images_as_alone(package: Path, pipe: TextToImage) -> None:
    texts = ["a red fox", "an owl", "a green fox"]

    async def all_at_once(app: Any) -> list[Any]:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            posts = (client.post(GENERATIONS, json=BODY | {"prompt": text}) for text in texts)
            return [answer.json()["data"][0] for answer in await asyncio.gather(*posts)]

    with service(package, batch=3, wait=5.0) as running:
        data = asyncio.run(all_at_once(running.app))
        assert running.figure("triptych_batch_size_count", model=package.name) == 1
        assert running.figure("triptych_batch_size_sum", model=package.name) == 3
    for each, text in zip(data, texts, strict=True):
        np.testing.assert_array_equal(np.asarray(opened(each)), np.asarray(pipe(text, seed=7, **ARGUMENTS).images[0]))


def test_an_edit_is_image_to_image(served: Service, pipe: TextToImage) -> None:
    image = example_image(64, 96)
    fields = {name: value for name, value in BODY.items() if name != "size"} | {"strength": 0.7}
    answer = served.client.post(EDITS, data=fields, files={"image": ("fox.png", png(image), "image/png")}).json()
    expected = pipe("a red fox", image=image, strength=0.7, seed=7, num_inference_steps=2).images[0]
    np.testing.assert_array_equal(np.asarray(opened(answer["data"][0])), np.asarray(expected))
    assert answer["size"] == f"{image.width}x{image.height}"


def test_an_image_of_another_size_is_resized_as_by_the_pipeline(served: Service, pipe: TextToImage) -> None:
    image, light = example_image(200, 150), mask(200, 150)
    transparent = image.convert("RGBA")
    transparent.putalpha(Image.eval(light, lambda value: 255 - value))
    files = {"image": ("fox.png", png(image), "image/png"), "mask": ("mask.png", png(transparent), "image/png")}
    (data,) = served.client.post(EDITS, data=BODY, files=files).json()["data"]
    expected = pipe("a red fox", image=image, mask_image=light, seed=7, **ARGUMENTS).images[0]
    np.testing.assert_array_equal(np.asarray(opened(data)), np.asarray(expected))


def test_the_transparent_part_of_a_mask_is_repainted(served: Service, pipe: TextToImage) -> None:
    """OpenAI's API has a transparent region, the pipeline a white one; the colours of the mask have no effect."""
    image, light = example_image(), Image.new("L", (128, 128), 0)
    light.paste(255, (0, 0, 64, 128))
    transparent = example_image(seed=1).convert("RGBA")
    transparent.putalpha(Image.eval(light, lambda value: 255 - value))
    files = {"image": ("fox.png", png(image), "image/png"), "mask": ("mask.png", png(transparent), "image/png")}
    fields = {name: value for name, value in BODY.items() if name != "size"}
    (data,) = served.client.post(EDITS, data=fields, files=files).json()["data"]
    expected = pipe("a red fox", image=image, mask_image=light, seed=7, num_inference_steps=2).images[0]
    np.testing.assert_array_equal(np.asarray(opened(data)), np.asarray(expected))


def test_an_upload_is_read_as_a_file_of_the_command_line_is(served: Service, pipe: TextToImage, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # orientation: to be turned to the right
    files = {"phone.jpg": example_image(96, 64), "alpha.webp": example_image().convert("RGBA")}
    files |= {"deep.png": Image.new("I;16", (64, 64), 30_000), "old.gif": example_image()}
    for name, image in files.items():
        image.save(tmp_path / name, exif=exif)
        expected = pipe("a red fox", image=tmp_path / name, seed=7, num_inference_steps=2, strength=0.5).images[0]
        fields = {name: value for name, value in BODY.items() if name != "size"} | {"strength": "0.5"}
        upload = {"image": (name, (tmp_path / name).read_bytes(), "application/octet-stream")}
        (data,) = served.client.post(EDITS, data=fields, files=upload).json()["data"]
        np.testing.assert_array_equal(np.asarray(opened(data)), np.asarray(expected))
    assert opened(data).size == (128, 128)


def events_of(text: str) -> list[dict[str, Any]]:
    """Data of server-sent events, whose names are their types."""
    events = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def test_a_stream_has_previews_and_then_the_image(served: Service, pipe: TextToImage) -> None:
    body = BODY | {"stream": True, "partial_images": 2, "num_inference_steps": 6, "n": 2}
    answer = served.client.post(GENERATIONS, json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    for row in range(2):
        of_row = [event for event in events if event["index"] == row]
        assert [event["type"].rpartition(".")[2] for event in of_row] == ["partial_image", "partial_image", "completed"]
        assert [event.get("partial_image_index") for event in of_row] == [0, 1, None]
        assert {event["seed"] for event in of_row} == {7 + row}
        expected = pipe("a red fox", seed=7 + row, **ARGUMENTS | {"num_inference_steps": 6}).images[0]
        np.testing.assert_array_equal(np.asarray(opened(of_row[-1])), np.asarray(expected))
        assert len({event["b64_json"] for event in of_row}) == 3


def test_a_preview_is_the_estimate_of_that_step(served: Service, pipe: TextToImage) -> None:
    """The VAE decoder decodes previews if the package has no preview decoder."""
    body = BODY | {"stream": True, "partial_images": 1, "num_inference_steps": 4, "scheduler": "ddim"}
    preview, _ = events_of(served.client.post(GENERATIONS, json=body).text)
    estimates = []
    arguments = ARGUMENTS | {"num_inference_steps": 4, "scheduler": "ddim"}
    pipe("a red fox", seed=7, **arguments, callback=lambda step: estimates.append(step.denoised))
    np.testing.assert_array_equal(np.asarray(opened(preview)), pipe.decode(estimates[1])[0])


def test_a_preview_decoder_is_used_if_there_is_one(package: Path, tmp_path: Path) -> None:
    """A copy of the VAE decoder with another scaling factor, so that the previews differ."""
    for part in package.iterdir():
        if part.name != "triptych.json":
            (tmp_path / part.name).symlink_to(part)
    shutil.copytree(package / "vae_decoder", tmp_path / "preview_decoder")
    config = tmp_path / "preview_decoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": 0.5}))
    previewing = TextToImage.load(tmp_path, device="cpu")
    expected = []
    arguments = ARGUMENTS | {"num_inference_steps": 4, "scheduler": "ddim", "num_images_per_prompt": 2}
    previewing("a red fox", seed=7, **arguments, callback=lambda step: expected.append(previewing.preview(step)))
    body = BODY | {"stream": True, "partial_images": 1, "num_inference_steps": 4, "scheduler": "ddim", "n": 2}
    with service(tmp_path, batch=2, wait=5.0) as running:
        events = events_of(running.client.post(GENERATIONS, json=body).text)
        assert running.figure("triptych_batch_size_sum", model=tmp_path.name) == 2
    previews = [event for event in events if event["type"].endswith("partial_image")]
    assert [event["index"] for event in previews] == [0, 1]
    for event in previews:
        np.testing.assert_array_equal(np.asarray(opened(event)), expected[1][event["index"]])


def test_an_error_in_a_stream_is_an_event(served: Service) -> None:
    before = served.figure("triptych_errors_total", code="400")
    answer = served.client.post(GENERATIONS, json=BODY | {"stream": True, "prompt": f"(fox:{10**39})"})
    (event,) = events_of(answer.text)
    assert event["type"] == "error"
    assert event["error"]["type"] == "invalid_request_error"
    assert served.figure("triptych_errors_total", code="400") == before + 1


def test_models_are_listed_and_found(served: Service, package: Path) -> None:
    listed = served.client.get("/v1/models").json()
    assert [model["id"] for model in listed["data"]] == [package.name]
    assert served.client.get(f"/v1/models/{package.name}").json() == listed["data"][0]
    assert served.client.post(GENERATIONS, json=BODY | {"model": package.name}).status_code == 200
    for answer in (
        served.client.get("/v1/models/other"),
        served.client.post(GENERATIONS, json=BODY | {"model": "../other"}),
    ):
        assert error_of(answer, 404)["code"] == "model_not_found"


def test_packages_have_different_names(package: Path) -> None:
    with pytest.raises(ArgumentError, match="names of their folders"):
        Service(package, package)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": "\ud800"}, None),
        ({"n": 0}, "n"),
        ({"n": 4}, "n"),
        ({"size": "big"}, "size"),
        ({"size": "64x65"}, None),
        ({"size": "0x64"}, None),
        ({"size": "256x256"}, "size"),
        ({"num_inference_steps": 61}, "num_inference_steps"),
        ({"prompt": "x" * 1501}, "prompt"),
        ({"prompt": "BREAK x " * 20}, "prompt"),
        ({"negative_prompt": "x" * 1501}, "negative_prompt"),
        ({"scheduler": "nonesuch"}, None),
        ({"scheduler": "flow_euler"}, None),
        ({"scheduler_options": {"nonesuch": 1}}, None),
        ({"scheduler_options": [1]}, "scheduler_options"),
        ({"scheduler_options": "{"}, "scheduler_options"),
        ({"scheduler_options": {"beta_start": {}}}, "scheduler_options"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"response_format": "url"}, "response_format"),
        ({"output_format": "gif"}, "output_format"),
        ({"partial_images": 25}, "partial_images"),
        ({"guidance_scale": 101}, "guidance_scale"),
        ({"guidance_rescale": 1.5}, "guidance_rescale"),
        ({"guidance_interval": [1.0]}, "guidance_interval"),
        ({"guidance_projection": [0, 15]}, "guidance_projection"),
        ({"image_guidance_scale": 0.5}, "image_guidance_scale"),
        ({"eta": 2}, "eta"),
        ({"timesteps": list(range(61))}, "timesteps"),
        ({"sigmas": [1.0] * 61}, "sigmas"),
        ({"prompt_2": "x" * 1501}, "prompt_2"),
        ({"negative_prompt_2": "x" * 1501}, "negative_prompt_2"),
        ({"original_size": [64]}, "original_size"),
        ({"original_size": [64, -1]}, "original_size"),
        ({"noise": "nope"}, "noise"),
        ({"steps": 3}, "steps"),
        ({"image": "/etc/passwd"}, "image"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_invalid_value_or_one_over_a_limit_is_400(served: Service, body: dict[str, Any], param: str | None) -> None:
    content = json.dumps(BODY | body)
    answer = served.client.post(GENERATIONS, content=content, headers={"Content-Type": "application/json"})
    assert error_of(answer, 400)["param"] == param


def test_a_body_that_is_not_json_is_400(served: Service) -> None:
    for content in (b"{", b"[" * 100_000, b"\xff", b""):
        error_of(served.client.post(GENERATIONS, content=content, headers={"Content-Type": "application/json"}), 400)
    error_of(served.client.post(GENERATIONS, content=json.dumps(BODY), headers={"Content-Type": "text/plain"}), 400)


def test_other_paths_and_methods_have_errors_of_the_same_format(served: Service) -> None:
    error_of(served.client.get("/v1/other"), 404)
    error_of(served.client.get(GENERATIONS), 405)


def test_body_size_is_limited_with_and_without_content_length(served: Service) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 10_000

    as_form = {"Content-Type": "multipart/form-data; boundary=x"}
    for path, headers in ((GENERATIONS, {"Content-Type": "application/json"}), (EDITS, as_form)):
        for content in (b" " * 2_000_000, pieces()):
            assert error_of(served.client.post(path, content=content, headers=headers), 413)


def test_an_incomplete_body_times_out(package: Path) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(10)

    async def post(app: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post(GENERATIONS, content=slow(), headers={"Content-Type": "application/json"})

    with service(package, timeout=0.3) as running:
        error_of(asyncio.run(asyncio.wait_for(post(running.app), 5)), 408)


def test_a_request_that_times_out_is_cancelled(slow_package: Path) -> None:
    with service(slow_package, timeout=0.1) as running:
        answer = running.client.post(GENERATIONS, json=LONG)
        assert error_of(answer, 503)["code"] == "timeout"
        assert answer.headers["x-should-retry"] == "false", "else OpenAI's client retries"
        (event,) = events_of(running.client.post(GENERATIONS, json=LONG | {"stream": True}).text)
        assert event["error"]["code"] == "timeout"
        running.models.stop()
        running.models.join()
        assert running.figure("triptych_pictures_total", model=slow_package.name) == 0
        assert running.figure("triptych_cancelled_total", model=slow_package.name) == 2


@pytest.mark.parametrize(
    ("image", "mask", "param"),
    [
        (b"not an image", None, "image"),
        (png(example_image())[:100], None, "image"),
        (png(Image.new("L", (257, 256))), None, "image"),
        (png(Image.new("L", (20_000, 20_000))), None, "image"),
        (png(Image.new("RGB", (2, 2))), None, None),
        (png(example_image()), png(example_image()), "mask"),
        (png(example_image()), png(Image.new("RGBA", (8, 8))), None),
        (png(example_image()), b"not an image", "mask"),
    ],
    ids=["not an image", "cut off", "too large", "bomb", "too small", "opaque mask", "mask of another size", "no mask"],
)
def test_an_invalid_image_is_400(served: Service, image: bytes, mask: bytes | None, param: str | None) -> None:
    files = {"image": ("a.png", image, "image/png")}
    if mask is not None:
        files["mask"] = ("m.png", mask, "image/png")
    assert error_of(served.client.post(EDITS, data={"prompt": "a fox"}, files=files), 400)["param"] == param


def test_an_edit_without_an_image_or_with_a_path_is_400(served: Service) -> None:
    form = {"boundary": (None, "x")}
    assert error_of(served.client.post(EDITS, data={"prompt": "a fox"}, files=form), 400)["param"]
    assert (
        error_of(served.client.post(EDITS, data={"prompt": "a fox", "image": "/etc/passwd"}), 400)["param"] == "image"
    )


def test_graphs_of_static_shapes_have_one_size(static_package: Path) -> None:
    """See STATIC of tests/conftest.py."""
    with service(static_package, pixels=1 << 20) as running:
        body = {name: value for name, value in BODY.items() if name != "size"}
        assert running.client.post(GENERATIONS, json=body).json()["size"] == "112x144"
        assert "static shapes" in error_of(running.client.post(GENERATIONS, json=BODY), 400)["message"]
        files = {"image": ("fox.png", png(example_image()), "image/png")}
        assert running.client.post(EDITS, data=body, files=files).json()["size"] == "112x144"


def test_a_full_queue_is_429(slow_package: Path) -> None:
    async def flood(app: Any) -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            body = BODY | {"num_inference_steps": 20}
            return await asyncio.gather(*(client.post(GENERATIONS, json=body) for _ in range(8)))

    with service(slow_package, queue=2) as running:
        answers = asyncio.run(flood(running.app))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) in (5, 6), "two wait, and one may have left the queue"
    for answer in refused:
        assert error_of(answer, 429)["code"] == "queue_full"
        assert int(answer.headers["Retry-After"]) >= 1


def test_a_service_that_loads_or_stops_is_healthy_but_not_ready(package: Path) -> None:
    with service(package, load=False) as running:
        client = running.client
        assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)
        running.models.load({"device": "cpu"})
        assert client.get("/readyz").json() == {"status": "ready"}
        running.models.stop()
        assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)
        answer = client.post(GENERATIONS, json=BODY)
        assert error_of(answer, 503)["code"] == "stopping"
        assert answer.headers["Retry-After"]


def test_abandoned_requests_are_503_running_or_queued(slow_package: Path) -> None:
    async def requests(running: Service) -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app=running.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            bodies = (LONG, LONG, LONG | {"stream": True})
            tasks = [asyncio.create_task(client.post(GENERATIONS, json=body)) for body in bodies]
            labels = {"model": slow_package.name, "component": "queue"}
            while running.figure("triptych_component_seconds_count", **labels) < 1:
                await asyncio.sleep(0.01)
            while running.figure("triptych_queue_depth", model=slow_package.name) < 2:
                await asyncio.sleep(0.01)
            running.models.abandon()
            return await asyncio.gather(*tasks)

    with service(slow_package) as running:
        active, queued, stream = asyncio.run(requests(running))
    for answer in (active, queued):
        assert error_of(answer, 503)["code"] == "stopping"
    assert [event["error"]["code"] for event in events_of(stream.text)] == ["stopping"]


def test_a_key_may_have_any_characters(package: Path) -> None:
    with service(package, key="schlüssel", load=False) as running:
        for key, status in (("schlüssel", 200), ("schlussel", 401)):
            headers = {b"Authorization": f"Bearer {key}".encode()}
            assert running.client.get("/v1/models", headers=headers).status_code == status


def test_all_but_health_and_docs_need_the_key(package: Path) -> None:
    with service(package, key="geheim", load=False) as running:
        client = running.client
        for path in ("/healthz", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200
        sources = re.findall(r'(?:src|href)="([^"]+)"', client.get("/docs").text)
        assert len(sources) == 3
        for path in sources:  # script, style and icon of /docs, which the service serves
            assert client.get(path).status_code == 200
        for headers in (
            {},
            {"Authorization": "Bearer geheimer"},
            {"Authorization": "Basic geheim"},
            {"X-Key": "geheim"},
        ):
            for path in ("/v1/models", "/metrics", "/v1/other"):
                answer = client.get(path, headers=headers)
                assert error_of(answer, 401)["code"] == "invalid_api_key"
                assert answer.headers["WWW-Authenticate"] == "Bearer"
            # the body is not read
            error_of(client.post(GENERATIONS, content=b"{", headers=headers), 401)
        assert client.get("/v1/models", headers={"Authorization": "Bearer geheim"}).status_code == 200
        assert "HTTPBearer" in client.get("/openapi.json").json()["components"]["securitySchemes"]


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", 200), ("::1", 200), ("10.0.0.7", 403), ("", 403)])
def test_other_machines_are_rejected_with_localhost_as_host(package: Path, address: str, status: int) -> None:
    """A proxy, for example Ray's, may listen at all addresses."""
    with service(package, load=False, local=True) as running:
        client = TestClient(running.app, base_url="http://localhost", client=(address, 50000))
        assert client.get("/v1/models").status_code == status


@pytest.mark.parametrize(
    ("host", "origin", "local", "status"),
    [
        ("127.0.0.1:8000", None, True, 200),
        ("[::1]:8000", None, True, 200),
        ("localhost:8000", "http://localhost:8000", True, 200),
        ("localhost:8000", "https://elsewhere.example", True, 403),
        ("localhost:8000", "null", True, 403),
        ("elsewhere.example", "http://elsewhere.example", True, 403),
        ("[", None, True, 403),
        ("images.example", None, False, 200),
        ("images.example", "https://elsewhere.example", False, 403),
    ],
)
def test_without_a_key_pages_of_other_sites_are_rejected(
    package: Path, host: str, origin: str | None, local: bool, status: int
) -> None:
    with service(package, load=False, local=local) as running:
        headers = {"Host": host} | ({} if origin is None else {"Origin": origin})
        answer = running.client.get("/v1/models", headers=headers)
        assert answer.status_code == status
        assert status == 200 or error_of(answer, 403)


def test_metrics_are_exported_for_prometheus(served: Service, package: Path) -> None:
    served.client.post(GENERATIONS, json=BODY)
    served.client.get("/v1/other")
    text = served.client.get("/metrics").text
    for name in ("text_encoder", "unet", "sampler", "vae_decoder", "total", "queue"):
        assert f'triptych_component_seconds_count{{component="{name}",model="{package.name}"}}' in text
    assert f'triptych_queue_depth{{model="{package.name}"}} 0.0' in text
    assert served.figure("triptych_pictures_total", model=package.name) >= 1
    assert served.figure("triptych_errors_total", code="404") >= 1


def test_an_internal_error_is_500_without_details(
    package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path")

    with service(package) as running:
        monkeypatch.setattr(TextToImage, "generate", broken)
        assert "secret" not in error_of(running.client.post(GENERATIONS, json=BODY), 500)["message"]
        monkeypatch.setattr(Models, "state_of", broken)
        assert "secret" not in error_of(running.client.get("/v1/models"), 500)["message"]
        assert running.figure("triptych_errors_total", code="500") == 2
    assert "/secret/path" in caplog.text


@pytest.mark.parametrize("log_prompts", [False, True])
def test_prompts_are_in_the_log_only_if_enabled(
    package: Path, caplog: pytest.LogCaptureFixture, log_prompts: bool
) -> None:
    caplog.set_level(logging.DEBUG, logger="triptych")
    with service(package, log_prompts=log_prompts) as running:
        running.client.post(GENERATIONS, json=BODY | {"prompt": "a purple\nzebra"})
        running.client.post(GENERATIONS, json=BODY | {"prompt": f"(zebra:{10**39})"})
    text = " ".join(record.getMessage() for record in caplog.records)
    assert ("zebra" in text) == log_prompts
    assert "\n" not in text
