"""Runs the cases and returns what is recorded of each, as JSON has it.

Left out is what may differ from run to run (times), from release to release (the version), and in wording (messages of
errors). An image is recorded as its size and the SHA-256 of its pixels, with the settings that it carries; the bytes of
a PNG depend on the zlib in use.
"""

import base64
import contextlib
import csv
import hashlib
import io
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from tests.support.tiny_package import write
from triptych.runtime import TextToImage, TriptychError
from triptych.runtime.cli import main
from triptych.runtime.request import Request
from triptych.runtime.service.http.api import create_app
from triptych.runtime.service.http.models import Models
from triptych.runtime.service.limits import Limits
from triptych.runtime.service.metrics import Metrics
from triptych.runtime.tasks.upscaling import upscaled

from .cases import CALLS, COMMANDS, EDITS, GENERATIONS, IMAGE, JOBS, MASK, PATHS, REQUESTS, Call, Post

PACKAGES = {
    "sd": "stable-diffusion",
    "xl": "sdxl",
    "refiner": "sdxl-refiner",
    "inpainting": "inpainting",
    "pix2pix": "instruct-pix2pix",
}
"""Name of a folder -> kind of its package."""

_LIMITS = Limits(pixels=128 * 128, steps=60, pictures=3, prompt=1500, body=500_000, upload_pixels=256 * 256, timeout=60)
_HEADERS = ("allow", "cache-control", "content-type", "retry-after", "www-authenticate", "x-accel-buffering")
_WORDING = {"title", "description", "summary"}


def prepare(folder: Path) -> None:
    """Write everything that the cases read: packages, images and files of jobs."""
    for name, kind in PACKAGES.items():
        write(folder / name, kind)
    places = np.arange(96 * 64 * 3, dtype=np.uint64).reshape(96, 64, 3)
    pattern = Image.fromarray((places * 2654435761 % 2**32 >> 24).astype(np.uint8))
    light = np.zeros((96, 64), np.uint8)
    light[:, 32:] = 255
    light[:24, :16] = 200
    transparent = pattern.convert("RGBA")
    transparent.putalpha(Image.fromarray(255 - light))
    for name, image in {IMAGE: pattern, MASK: Image.fromarray(light), "transparent.png": transparent}.items():
        image.save(folder / name)
    for name, rows in JOBS.items():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            if name.endswith(".csv"):
                table = csv.DictWriter(file, rows[0].keys())
                table.writeheader()
                table.writerows(rows)
            else:
                file.writelines(json.dumps(row) + "\n" for row in rows)


def record(folder: Path) -> dict[str, dict[str, Any]]:
    """Run all cases in a prepared folder: the name of a recorded file -> the name of a case -> its answer."""
    with contextlib.chdir(folder):
        return {"calls": _calls(), "commands": _commands(), "http": _http()}


def _calls() -> dict[str, Any]:
    folders = {kind: name for name, kind in PACKAGES.items()}
    pipes: dict[tuple[str, str], TextToImage] = {}
    answers = {}
    for name, call in CALLS.items():
        key = call.kind, call.memory
        if key not in pipes:
            pipes[key] = TextToImage.load(folders[call.kind], device="cpu", memory=call.memory)
        answers[name] = _answer(pipes[key], call)
    return answers


def _answer(pipe: TextToImage, call: Call) -> Any:
    arguments = dict(call.arguments)
    for name in {"image", "mask_image"} & arguments.keys():
        arguments[name] = Image.open(arguments[name])
        if "denoising_start" in arguments:  # latents of another run, here those of the image
            arguments[name] = np.asarray(arguments[name].resize((8, 8)), np.float32).transpose(2, 0, 1)[None] / 64 - 2
            arguments[name] = arguments[name][:, [0, 1, 2, 0]]
    try:
        upscale = arguments.pop("upscale", None)
        output = pipe(**arguments) if upscale is None else upscaled(pipe, Request(**arguments), upscale)
    except TriptychError as error:
        return {"error": type(error).__name__, "exit_status": error.exit_status}
    return {
        "seeds": output.seeds,
        "latents": list(output.latents.shape),
        "timings": sorted(output.timings),
        "images": [_image(image) for image in output.images],
    }


def _commands() -> dict[str, Any]:
    answers = {}
    before = {*Path().rglob("*")}
    for name, arguments in COMMANDS.items():
        status, out = _run(shlex.split(arguments))
        made = sorted({*Path().rglob("*")} - before)
        before |= {*made}
        answers[name] = {
            "status": status,
            "stdout": _parsed(_without_version(out)),
            "images": {str(path): _image(Image.open(path)) for path in made if path.suffix == ".png"},
            **({"results": _results(Path(out.strip()))} if "results.jsonl" in out else {}),
        }
        if "several/grid.png" in answers[name]["images"]:  # labels are drawn by the FreeType in use
            answers[name]["images"]["several/grid.png"].pop("sha256")
    return answers


def _run(arguments: list[str]) -> tuple[int, str]:
    """Exit status and stdout of the command line, run in this process."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["triptych", *arguments]
    status: Any = None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stopped:
        status = stopped.code
    finally:
        sys.argv = before
    return int(status or 0), out.getvalue()


def _results(table: Path) -> list[dict[str, Any]]:
    """Rows of a batch without the seconds, the bytes of the PNG and the wording of reasons."""
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    for row in rows:
        row["seconds"] = type(row["seconds"]).__name__
        row["sha256"], row["reason"] = row["sha256"] is not None, row["reason"] is not None
        if row["file"] is not None:
            row["image"] = _image(Image.open(table.parent / row["file"]))
    return rows


def _http() -> dict[str, Any]:
    metrics = Metrics()
    models = Models([Path("sd"), Path("xl")], metrics, batch=2, wait=0.0, queue=8)
    models.load({"device": "cpu"})
    try:
        app = create_app(models, _LIMITS, metrics, key=None, local=True)
        client = TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50000))
        posts = {name: _response(_post(client, post)) for name, post in REQUESTS.items()}
        reads = {f"GET {path}": _response(client.get(path)) for path in PATHS}
        fields = {f"fields of {path}": _fields(client, path) for path in (GENERATIONS, EDITS)}
        return posts | reads | fields
    finally:
        models.abandon()
        models.join()


def _post(client: TestClient, post: Post) -> Any:
    if not post.files:
        return client.post(post.path, json=post.body)
    files = {name: (file, Path(file).read_bytes()) for name, file in post.files.items()}
    return client.post(post.path, data=post.body, files=files)


def _response(response: Any) -> dict[str, Any]:
    headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
    if headers.get("content-type", "").startswith("text/event-stream"):
        body: Any = [_event(block) for block in response.text.strip().split("\n\n")]
    else:
        body = _body(response.json())
    return {"status": response.status_code, "headers": headers, "body": body}


def _event(block: str) -> dict[str, Any]:
    event, data = block.split("\n")
    return {"event": event.removeprefix("event: "), "data": _body(json.loads(data.removeprefix("data: ")))}


def _body(value: Any) -> Any:
    """JSON of an answer, images described, without times and the wording of errors."""
    if isinstance(value, list):
        return [_body(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _body(each) for name, each in value.items() if name not in ("created", "created_at", "message")}
    if "b64_json" in kept:
        kept["b64_json"] = _image(Image.open(io.BytesIO(base64.b64decode(kept["b64_json"]))))
    return kept


def _fields(client: TestClient, path: str) -> dict[str, Any]:
    """Fields of a request's body as OpenAPI declares them, without descriptions."""
    document = client.get("/openapi.json").json()
    (content,) = document["paths"][path]["post"]["requestBody"]["content"].items()
    schema = content[1]["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return {"media type": content[0], **_plain(schema)}


def _plain(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {field: _plain(each) for field, each in value.items()} if name == "properties" else _plain(value)
        for name, value in schema.items()
        if name not in _WORDING
    }


def _image(image: Image.Image) -> dict[str, Any]:
    """Size and pixels of an image, and the two texts that it carries."""
    described: dict[str, Any] = {
        "size": f"{image.width}x{image.height} {image.mode}",
        "sha256": hashlib.sha256(image.tobytes()).hexdigest(),
    }
    if "triptych" in image.info:
        described["triptych"] = json.loads(image.info["triptych"])
        described["triptych"]["version"] = type(described["triptych"]["version"]).__name__
    if "parameters" in image.info:
        described["parameters"] = _without_version(image.info["parameters"])
    return described


def _parsed(text: str) -> Any:
    """JSON where the text is a JSON object or list, else its lines."""
    return json.loads(text) if text.startswith(("{", "[")) else text.splitlines()


def _without_version(text: str) -> str:
    return re.sub(r"triptych \d[\w.+]*", "triptych VERSION", text)
