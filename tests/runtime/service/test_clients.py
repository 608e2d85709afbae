"""Requests as clients of OpenAI's API send them, and any others: an answer, or an error in one line."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.images import example_image, mask
from triptych.runtime import TextToImage
from triptych.runtime.service.http.schema import Edit, Generation

from .serving import BODY, EDITS, GENERATIONS, Service, png

EXTRA: dict[str, Any] = {"num_inference_steps": 2, "seed": 7}
SIZE: dict[str, Any] = {"prompt": "a red fox", "size": "64x64", "extra_body": EXTRA}


@pytest.fixture
def client(served: Service) -> openai.OpenAI:
    """The real client, in this process."""
    return openai.OpenAI(base_url="http://localhost/v1", api_key="none", max_retries=0, http_client=served.client)


def file(image: Image.Image, name: str = "fox.png") -> tuple[str, bytes, str]:
    return (name, png(image), "image/png")


def opened(answer: Any) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json)))


def message(call: Callable[[], object]) -> str:
    """Line of a refusal."""
    with pytest.raises(openai.BadRequestError) as refused:
        call()
    body = refused.value.body
    assert isinstance(body, dict)
    assert "\n" not in body["message"]
    return str(body["message"])


@pytest.mark.parametrize(
    "fields",
    [
        {"quality": "auto"},
        {"quality": "standard"},
        {"quality": "hd"},
        {"quality": "low"},
        {"quality": "medium"},
        {"quality": "high"},
        {"background": "auto"},
        {"background": "opaque"},
        {"moderation": "auto"},
        {"moderation": "low"},
        {"user": "somebody"},
        {"style": "natural"},
        {"output_compression": 100},
        {"safety_identifier": "somebody"},
        dict.fromkeys(("n", "response_format", "partial_images", "stream", "quality", "background", "style")),
    ],
    ids=str,
)
def test_fields_of_openai_change_nothing(client: openai.OpenAI, pipe: TextToImage, fields: dict[str, Any]) -> None:
    expected = pipe("a red fox", seed=7, num_inference_steps=2, height=64, width=64).images[0]
    np.testing.assert_array_equal(opened(client.images.generate(**SIZE, **fields)), expected)


def test_every_optional_field_may_be_null(served: Service) -> None:
    nulls = {name: None for name, field in Generation.model_fields.items() if not field.is_required()}
    answer = served.client.post(GENERATIONS, json=nulls | BODY)
    assert answer.status_code == 200, answer.text
    assert served.client.post(GENERATIONS, json=BODY | {"steps": None}).status_code == 400, "an unknown field"


def test_an_image_in_a_list_is_that_image(client: openai.OpenAI) -> None:
    """OpenAI's client sends the parts of a list as name[]."""
    start = example_image(64, 64)
    extra = {**EXTRA, "guidance_scale": [3.0, 5.0]}
    alone = client.images.edit(image=file(start), prompt="a fox", extra_body=extra)
    listed = client.images.edit(
        image=[file(start)], prompt="a fox", input_fidelity="high", quality="auto", extra_body=extra
    )
    np.testing.assert_array_equal(opened(alone), opened(listed))


def test_several_images_are_refused_by_name(client: openai.OpenAI, served: Service) -> None:
    two = [file(example_image(64, 64))] * 2
    assert message(lambda: client.images.edit(image=two, prompt="a fox")) == "'image' has 2 files; allowed: one"
    for names in (("image", "image"), ("image", "image[]")):
        answer = served.client.post(EDITS, data={"prompt": "a fox"}, files=[*zip(names, two, strict=True)])
        assert answer.json()["error"]["param"] == "image"
    masks = [("image", two[0]), ("mask", file(mask(64, 64))), ("mask", file(mask(64, 64)))]
    assert served.client.post(EDITS, data={"prompt": "a fox"}, files=masks).json()["error"]["param"] == "mask"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"background": "transparent"}, "background='transparent'; allowed: 'auto' or 'opaque'"),
        ({"response_format": "url"}, "response_format='url'; allowed: 'b64_json'"),
        ({"output_format": "gif"}, "output_format='gif'; allowed: 'png', 'jpeg' or 'webp'"),
        ({"extra_body": {"num_inference_step": 2}}, "unknown field 'num_inference_step'; did you mean"),
        ({"extra_body": {"a\nb": 2}}, "unknown field 'a\\nb'; allowed: prompt, model"),
        ({"output_compression": 101}, "output_compression=101; "),
        ({"n": 10**40}, "n="),
    ],
    ids=str,
)
def test_a_refusal_names_the_field_the_value_and_what_is_allowed(
    client: openai.OpenAI, fields: dict[str, Any], expected: str
) -> None:
    assert message(lambda: client.images.generate(prompt="a fox", **fields)).startswith(expected)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_output_formats(client: openai.OpenAI, served: Service, output_format: Any) -> None:
    answer = client.images.generate(**SIZE, output_format=output_format)
    assert opened(answer).format == output_format.upper()
    assert answer.output_format == output_format
    exact = np.asarray(opened(client.images.generate(**SIZE)), np.float64)
    assert np.abs(np.asarray(opened(answer), np.float64) - exact).mean() < (0.1 if output_format == "png" else 12)
    smaller = client.images.generate(**SIZE, output_format=output_format, output_compression=10)
    assert (len(smaller.data[0].b64_json) < len(answer.data[0].b64_json)) == (output_format != "png")
    body = BODY | {"stream": True, "output_format": output_format}
    event = json.loads(served.client.post(GENERATIONS, json=body).text.partition("data: ")[2])
    assert event["output_format"] == output_format
    assert Image.open(io.BytesIO(base64.b64decode(event["b64_json"]))).format == output_format.upper()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_stream_of_the_client_has_its_previews_and_the_image(client: openai.OpenAI, count: int) -> None:
    extra = EXTRA | {"num_inference_steps": 6}
    stream = client.images.generate(
        prompt="a red fox", size="64x64", stream=True, partial_images=count, extra_body=extra
    )
    *previews, last = list(stream)
    assert [event.type for event in previews] == ["image_generation.partial_image"] * count
    assert last.type == "image_generation.completed"
    alone = client.images.generate(prompt="a red fox", size="64x64", extra_body=extra)
    assert alone.data is not None
    assert last.b64_json == alone.data[0].b64_json


@pytest.mark.parametrize("sent", [None, "application/x-www-form-urlencoded", "text/plain", "application/jsonx", "?"])
def test_json_under_another_content_type_names_that_of_json(served: Service, sent: str | None) -> None:
    headers = {} if sent is None else {"Content-Type": sent}
    answer = served.client.post(GENERATIONS, content=json.dumps(BODY), headers=headers)
    assert answer.status_code == 400
    assert "allowed: application/json; curl: -H 'Content-Type: application/json'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "sent", [{"json": BODY}, {"data": {"prompt": "a fox", "image": "fox.png"}}], ids=["JSON", "form"]
)
def test_an_edit_without_files_names_its_content_type(served: Service, sent: dict[str, Any]) -> None:
    answer = served.client.post(EDITS, **sent)
    assert answer.status_code == 400
    assert "multipart/form-data" in answer.json()["error"]["message"]


TEXT = st.text(st.characters(), max_size=9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PART = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n--x--'
BODIES = st.one_of(
    st.dictionaries(st.sampled_from([*Edit.model_fields]) | TEXT, JSON, max_size=5).map(
        lambda value: json.dumps({"prompt": "a fox", "size": "8x8"} | value).encode()
    ),
    st.binary(max_size=60),
    st.builds(lambda depth: b'{"prompt":' + b"[" * depth + b"]" * depth + b"}", st.integers(1, 200_000)),
    st.builds(lambda digits: b'{"prompt":"a","n":' + b"9" * digits + b"}", st.integers(1, 9999)),
    st.builds(
        lambda name, value: PART % (name, value),
        st.sampled_from([b"prompt", b"image", b"image[]", b"n", b"[]", b""]) | st.binary(max_size=9),
        st.binary(max_size=30),
    ),
)
TYPES = st.sampled_from(
    [
        "application/json",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "multipart/form-data; boundary=x; charset=nonsense",
        "application/json; charset=utf-16",
    ]
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from([GENERATIONS, EDITS]), content=BODIES, sent=TYPES)
def test_any_body_has_an_answer_or_an_error_in_one_line(served: Service, path: str, content: bytes, sent: str) -> None:
    answer = served.client.post(path, content=content, headers={"Content-Type": sent})
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert len(answer.json()["error"]["message"].splitlines()) == 1
