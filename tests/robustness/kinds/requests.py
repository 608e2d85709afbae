"""Altered bodies of HTTP requests. Every answer is 2xx, or 4xx with one line."""

import io
import json
from random import Random
from typing import Any

from PIL import Image

from triptych.runtime.errors import ArgumentError

from ..alter import HOSTILE, altered_bytes, altered_json
from ..attempt import Case
from ..inputs import Inputs

_BODY: dict[str, Any] = {
    "prompt": "a red fox", "model": None, "n": 1, "size": "64x64", "response_format": "b64_json", "stream": False,
    "output_format": "png", "seed": 7, "num_inference_steps": 2, "guidance_scale": 2.5, "guidance_rescale": 0.5,
    "guidance_interval": [0, 5], "negative_prompt": "blue", "scheduler": "euler", "timesteps": None, "noise": "torch",
}  # fmt: skip


def case(inputs: Inputs, random: Random) -> Case:
    """A request for images, or an edit, with one change."""
    if random.random() < 0.3:
        return _edit(inputs, random)
    body, name = altered_json(_BODY, random)
    data, kind = body.encode("utf-8", "surrogatepass"), "application/json"
    if random.random() < 0.25:
        data, name = altered_bytes(json.dumps(_BODY).encode(), random)
    elif random.random() < 0.1:
        kind = random.choice(("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""))
        name = f"content type {kind!r}"
    return Case(name, lambda: _send(inputs, "/v1/images/generations", content=data, headers={"content-type": kind}))


def _edit(inputs: Inputs, random: Random) -> Case:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    image, name = altered_bytes(file.getvalue(), random)
    fields: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": "2"}
    if random.random() < 0.5:
        image, field = file.getvalue(), random.choice((*fields, "strength", "size", "n", "guidance_scale", "mask"))
        fields[field] = str(random.choice(HOSTILE))[:1000].encode("utf-8", "replace").decode()
        name = f"{field} = {fields[field]!r:.40}"
    files = {"image": (random.choice(("a.png", "", "../a", "a.exe")), image, "image/png")}
    return Case(f"edit: {name}", lambda: _send(inputs, "/v1/images/edits", data=fields, files=files))


def _send(inputs: Inputs, path: str, **request: Any) -> None:
    """Send a request to a service in this process; an error of the client becomes an ArgumentError.

    Raises:
        ArgumentError: the answer is 4xx with a message of one line.
        RuntimeError: any other answer.
    """
    from tests.runtime.service.serving import service

    with service(inputs.package) as running:
        answer = running.client.post(path, **request)
    if answer.is_success:
        return
    message = answer.json()["error"]["message"] if answer.status_code < 500 else answer.text
    if answer.status_code < 500 and isinstance(message, str) and message and len(message.splitlines()) == 1:
        raise ArgumentError(message)
    raise RuntimeError(f"{answer.status_code}: {answer.text[:500]}")
