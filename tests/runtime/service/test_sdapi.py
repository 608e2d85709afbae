"""The API of Stable Diffusion web UI: requests that its clients send, fields that are honoured, and refusals."""

import base64
import io
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.images import example_image, mask
from triptych.runtime import TextToImage
from triptych.runtime.image.exif import exif_of
from triptych.runtime.image.settings import Settings
from triptych.runtime.request import Request
from triptych.runtime.service.limits import JSON_BYTES
from triptych.runtime.tasks.upscaling import upscaled

from .serving import Service, png, service

TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
RECORDED = sorted(Path(__file__).with_name("sdapi_requests").glob("*.json"))
BODY: dict[str, Any] = {"prompt": "a red fox", "steps": 2, "width": 64, "height": 64, "seed": 7}
ARGUMENTS: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 2, "width": 64, "height": 64, "seed": 7}
ASKED = [
    "options",
    "samplers",
    "schedulers",
    "sd-models",
    "progress",
    "cmd-flags",
    "loras",
    "upscalers",
    "latent-upscale-modes",
    "sd-vae",
    "sd-modules",
    "hypernetworks",
    "embeddings",
    "prompt-styles",
    "face-restorers",
    "scripts",
    "script-info",
    "extensions",
    "memory",
]
"""What clients ask when they connect."""


@pytest.fixture(scope="module")
def served(package: Path) -> Iterator[Service]:
    with service(package, sdapi=True) as running:
        yield running


def encoded(image: Image.Image) -> str:
    return base64.b64encode(png(image)).decode()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


IMAGE, MASK = example_image(64, 64), mask(64, 64)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_requests_of_clients_are_answered(served: Service, package: Path, path: Path) -> None:
    recorded = json.loads(path.read_text().replace("<model>", package.name))
    small = {"width": 64, "height": 64, "steps": 2}
    images = {"<image>": f"data:image/png;base64,{encoded(IMAGE)}", "<mask>": encoded(MASK)}
    body = {
        name: images.get(value, value) if isinstance(value, str) else value for name, value in recorded["body"].items()
    } | small
    if "init_images" in body:
        body["init_images"] = [images["<image>"]]
    answer = served.client.post(recorded["path"], json=body)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert result.keys() == {"images", "parameters", "info"}
    info = json.loads(result["info"])
    image = opened(result["images"][0])
    assert image.size == ((128, 128) if body.get("enable_hr") else (64, 64))
    assert image.info["parameters"] == info["infotexts"][0]
    assert f"Seed: {info['seed']}" in info["infotexts"][0]


def test_images_are_those_of_the_pipeline(served: Service, pipe: TextToImage) -> None:
    fields = {"negative_prompt": "grey", "cfg_scale": 3, "sampler_name": "DPM++ 2M", "scheduler": "Karras"}
    result = served.client.post(TXT2IMG, json=BODY | fields | {"batch_size": 2, "subseed": 3, "subseed_strength": 0.5})
    expected = pipe(
        **ARGUMENTS,
        negative_prompt="grey",
        guidance_scale=3.0,
        scheduler="DPM++ 2M Karras",
        num_images_per_prompt=2,
        variation_seed=3,
        variation_strength=0.5,
    )
    for text, image in zip(result.json()["images"], expected.images, strict=True):
        np.testing.assert_array_equal(np.asarray(opened(text)), np.asarray(image))
    info = json.loads(result.json()["info"])
    assert (info["all_seeds"], info["all_subseeds"]) == ([7, 7], [3, 4])


def test_the_second_pass_is_that_of_upscaling(served: Service, pipe: TextToImage) -> None:
    fields = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
    (text,) = served.client.post(TXT2IMG, json=BODY | fields).json()["images"]
    expected = upscaled(pipe, Request(**ARGUMENTS, strength=0.6), 1.5).images[0]
    np.testing.assert_array_equal(np.asarray(opened(text)), np.asarray(expected))


def test_an_image_and_a_mask_are_those_of_the_pipeline(served: Service, pipe: TextToImage) -> None:
    inverted = Image.eval(MASK.convert("L"), lambda value: 255 - value)
    fields = {"init_images": [encoded(IMAGE)], "denoising_strength": 0.8}
    masked = fields | {"mask": encoded(inverted), "inpainting_mask_invert": 1, "mask_blur": 0}
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [(fields, {}), (masked, {"mask_image": MASK})]
    for body, arguments in cases:
        (text,) = served.client.post(IMG2IMG, json=BODY | body).json()["images"]
        expected = pipe(**ARGUMENTS, image=IMAGE, strength=0.8, **arguments).images[0]
        np.testing.assert_array_equal(np.asarray(opened(text)), np.asarray(expected))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tiling": True}, "tiling"),
        ({"restore_faces": True}, "restore_faces"),
        ({"script_name": "X/Y/Z plot"}, "script_name"),
        ({"alwayson_scripts": {"ControlNet": {"args": [{"enabled": True}]}}}, "ControlNet"),
        ({"refiner_checkpoint": "sdxl"}, "refiner_checkpoint"),
        ({"styles": ["anime"]}, "styles"),
        ({"enable_hr": True, "hr_second_pass_steps": 9}, "hr_second_pass_steps"),
        ({"sampler_name": "DPM fast"}, "DPM fast"),
        ({"sampler_name": "Euler", "scheduler": "Polyexponential"}, "Polyexponential"),
        ({"batch_size": 4}, "n=4"),
        ({"steps": 1000}, "num_inference_steps"),
        ({"override_settings": {"sd_model_checkpoint": "none"}}, "no model"),
        ({"seed": -2}, "seed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fields_that_are_not_supported_are_refused_where_they_are_used(
    served: Service, fields: dict[str, Any], name: str
) -> None:
    answer = served.client.post(TXT2IMG, json=BODY | fields)
    assert answer.status_code in (400, 404)
    assert answer.json().keys() == {"error", "detail", "body", "errors"}
    assert name in answer.json()["detail"]


def test_scripts_that_are_off_are_no_reason_to_refuse(served: Service) -> None:
    scripts = {"ControlNet": {"args": []}, "ADetailer": {"args": [False]}, "other": {"args": [{"enabled": False}]}}
    fields = {"alwayson_scripts": scripts, "script_name": "None", "refiner_checkpoint": "", "scheduler": "Automatic"}
    assert served.client.post(TXT2IMG, json=BODY | fields).status_code == 200


@pytest.mark.parametrize("text", ["no base64!", "/etc/passwd", "http://localhost/a.png", "", encoded(IMAGE)[:99]])
def test_an_image_is_neither_a_file_nor_a_url(served: Service, text: str) -> None:
    answer = served.client.post(IMG2IMG, json=BODY | {"init_images": [text]})
    assert answer.status_code == 400
    assert "init_images" in answer.json()["detail"]


def test_what_clients_ask_when_they_connect(served: Service, package: Path) -> None:
    answers = {name: served.client.get(f"/sdapi/v1/{name}") for name in ASKED}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(ASKED, 200)
    assert answers["sd-models"].json()[0]["title"] == package.name
    assert {"Euler a", "DPM++ 2M", "DDIM"} <= {each["name"] for each in answers["samplers"].json()}
    assert answers["progress"].json()["progress"] == 0
    assert served.client.get("/internal/ping").status_code == 200
    assert served.client.get("/queue/status").json() == {"queue_size": 0}


def test_every_sampler_that_is_listed_can_be_sent_back(served: Service) -> None:
    for each in served.client.get("/sdapi/v1/samplers").json()[:6]:
        answer = served.client.post(TXT2IMG, json=BODY | {"sampler_name": each["name"], "steps": 3})
        assert answer.status_code == 200, answer.text


def test_the_model_is_chosen_by_options(served: Service, package: Path) -> None:
    options = served.client.get("/sdapi/v1/options").json()
    assert options["sd_model_checkpoint"] == package.name
    assert served.client.post("/sdapi/v1/options", json=options).status_code == 200
    assert served.client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "none"}).status_code == 404
    assert served.client.get("/sdapi/v1/options").json() == options


def test_a_chosen_model_is_that_of_following_requests(package: Path, tmp_path: Path) -> None:
    other = shutil.copytree(package, tmp_path / "other")
    with service(package, other, sdapi=True) as running:

        def used(**fields: Any) -> str:
            answer = running.client.post(TXT2IMG, json=BODY | fields)
            return str(json.loads(answer.json()["info"])["sd_model_name"])

        assert used() == package.name
        assert used(override_settings={"sd_model_checkpoint": "other"}) == "other"
        assert used() == package.name
        running.client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "other", "CLIP_stop_at_last_layers": 2})
        assert used() == "other"
        assert running.client.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "other"


@pytest.mark.parametrize(("path", "status"), [(IMG2IMG, 400), (TXT2IMG, 413)])
def test_a_body_with_images_may_be_as_large_as_a_form(package: Path, path: str, status: int) -> None:
    with service(package, sdapi=True, load=False, body=4 * JSON_BYTES) as running:
        answer = running.client.post(path, json=BODY | {"init_images": ["A" * 2 * JSON_BYTES]})
        assert answer.status_code == status
        assert answer.json().keys() == {"error", "detail", "body", "errors"}


def test_text_of_a_png_is_read(served: Service) -> None:
    (text,) = served.client.post(TXT2IMG, json=BODY).json()["images"]
    answer = served.client.post("/sdapi/v1/png-info", json={"image": text}).json()
    assert answer["info"] == opened(text).info["parameters"]
    assert answer["items"].keys() == {"triptych", "parameters"}


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_settings_in_exif_data_are_read_as_those_of_a_png(served: Service, format: str) -> None:
    (text,) = served.client.post(TXT2IMG, json=BODY | {"prompt": "a fox \U0001f98a"}).json()["images"]
    image, file = opened(text), io.BytesIO()
    image.save(file, format, exif=exif_of(Settings.from_json(image.info["triptych"])))
    body = {"image": base64.b64encode(file.getvalue()).decode()}
    answer = served.client.post("/sdapi/v1/png-info", json=body).json()
    assert answer["info"] == image.info["parameters"]
    assert json.loads(answer["items"]["triptych"]) == json.loads(image.info["triptych"])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("exif", [b"", b"Exif\0\0MM\0*damaged"])
def test_an_image_without_settings_has_an_empty_text(served: Service, exif: bytes) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    body = {"image": base64.b64encode(file.getvalue()).decode()}
    assert served.client.post("/sdapi/v1/png-info", json=body).json() == {"info": "", "items": {}, "parameters": {}}


def test_an_interrupted_request_is_answered_with_what_is_finished(slow_package: Path) -> None:
    with service(slow_package, sdapi=True) as running, ThreadPoolExecutor(1) as pool:
        body = BODY | {"steps": 60, "width": 128, "height": 128}
        waiting = pool.submit(running.client.post, TXT2IMG, json=body)
        while (progress := running.client.get("/sdapi/v1/progress").json())["state"]["sampling_step"] == 0:
            assert not waiting.done()
        assert 0 < progress["progress"] < 1
        assert running.client.post("/sdapi/v1/interrupt").status_code == 200
        answer = waiting.result(30)
        assert (answer.status_code, answer.json()["images"]) == (200, [])


def test_it_is_off_by_default(package: Path) -> None:
    with service(package, load=False) as running:
        assert running.client.post(TXT2IMG, json=BODY).status_code == 404


def test_the_key_is_a_bearer_token_or_the_password_of_basic_authentication(package: Path) -> None:
    basic = base64.b64encode(b"user:secret").decode()
    with service(package, sdapi=True, key="secret", load=False) as running:
        for path, header, origin, status in (
            ("/sdapi/v1/options", "Bearer secret", None, 200),
            ("/sdapi/v1/options", f"Basic {basic}", None, 200),
            ("/sdapi/v1/options", f"Basic {basic}", "http://evil.example", 401),
            ("/sdapi/v1/options", "Basic !", None, 401),
            ("/sdapi/v1/options", "Basic secret", None, 401),
            ("/sdapi/v1/options", "", None, 401),
            ("/v1/models", f"Basic {basic}", None, 401),
        ):
            headers = {"Authorization": header} | ({} if origin is None else {"Origin": origin})
            answer = running.client.get(path, headers=headers)
            assert answer.status_code == status, (path, header)
            assert "Basic" not in answer.headers.get("WWW-Authenticate", "")
