"""`triptych serve` as a process over loopback, with OpenAI's client."""

import base64
import io
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from PIL import Image

from tests.support.command_line import refused
from tests.support.images import example_image
from triptych.runtime import TextToImage

from .serving import BODY, GENERATIONS, LONG, Process, png, process, refused_without

EXTRA: dict[str, Any] = {"seed": 7, "num_inference_steps": 2}
"""Fields of BODY that OpenAI's API lacks."""


@pytest.fixture(scope="session")
def package(slow_package: Path) -> Path:
    """Package with slow generation, so that requests can be cancelled during it."""
    return slow_package


@pytest.fixture(scope="module")
def server(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with process(tmp_path_factory.mktemp("server") / "log", package, "--max-steps", "1000") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Process) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def pixels_of(data: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.b64_json))))


def counted(server: Process, name: str) -> float:
    """Sum of a metric over all models."""
    lines = httpx2.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


def in_background(server: Process, body: dict[str, Any]) -> tuple[threading.Thread, list[httpx2.Response]]:
    """Start a request in a thread and wait until its generation begins; the list receives the response."""
    turns = counted(server, "triptych_component_seconds_count")
    answers: list[httpx2.Response] = []

    def post() -> None:
        answers.append(httpx2.post(server.url + GENERATIONS, json=body, timeout=60))

    thread = threading.Thread(target=post)
    thread.start()
    while counted(server, "triptych_component_seconds_count") == turns:  # it is in the queue
        time.sleep(0.01)
    return thread, answers


def test_openais_client_lists_models(client: openai.OpenAI, package: Path) -> None:
    assert [model.id for model in client.models.list()] == [package.name]
    assert client.models.retrieve(package.name).owned_by == "triptych"


def test_openais_client_generates(client: openai.OpenAI, pipe: TextToImage) -> None:
    response = client.images.generate(
        prompt="a red fox", n=2, size="64x64", response_format="b64_json", extra_body=EXTRA
    )
    assert response.size == "64x64"
    expected = pipe("a red fox", height=64, width=64, num_images_per_prompt=2, **EXTRA).images
    assert response.data is not None
    for data, image, seed in zip(response.data, expected, (7, 8), strict=True):
        np.testing.assert_array_equal(pixels_of(data), np.asarray(image))
        assert data.model_extra == {"seed": seed}


def test_openais_client_edits(client: openai.OpenAI, pipe: TextToImage) -> None:
    mask = Image.new("RGBA", (128, 128), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (0, 0, 64, 128))
    response = client.images.edit(
        image=("fox.png", png(example_image())),
        mask=("mask.png", png(mask)),
        prompt="a red fox",
        n=1,
        extra_body=EXTRA | {"strength": 0.8},
    )
    light = Image.eval(mask.getchannel("A"), lambda value: 255 - value)
    expected = pipe("a red fox", image=example_image(), mask_image=light, strength=0.8, **EXTRA).images[0]
    assert response.data is not None
    np.testing.assert_array_equal(pixels_of(response.data[0]), np.asarray(expected))


def test_openais_client_streams(client: openai.OpenAI, pipe: TextToImage) -> None:
    extra = EXTRA | {"num_inference_steps": 6}
    events = list(
        client.images.generate(prompt="a red fox", size="64x64", stream=True, partial_images=2, extra_body=extra)
    )
    kinds: list[type[Any]] = [openai.types.ImageGenPartialImageEvent] * 2 + [openai.types.ImageGenCompletedEvent]
    assert [type(event) for event in events] == kinds
    for event, kind in zip(events, kinds, strict=True):
        kind.model_validate(event.model_dump())  # every field that its type requires
    expected = pipe("a red fox", height=64, width=64, **extra).images[0]
    np.testing.assert_array_equal(pixels_of(events[-1]), np.asarray(expected))
    edits = list(
        client.images.edit(
            image=("fox.png", png(example_image())), prompt="a red fox", stream=True, partial_images=1, extra_body=extra
        )
    )
    kinds = [openai.types.ImageEditPartialImageEvent, openai.types.ImageEditCompletedEvent]
    assert [type(event) for event in edits] == kinds
    for edit, kind in zip(edits, kinds, strict=True):
        kind.model_validate(edit.model_dump())


def test_openais_client_raises_its_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="multiple of 8") as bad:
        client.images.generate(prompt="a red fox", size="65x64")
    assert bad.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError) as missing:
        client.images.generate(prompt="a red fox", model="other")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.APIError, match="weights"):
        list(client.images.generate(prompt=f"(fox:{10**39})", size="64x64", stream=True, extra_body=EXTRA))


@pytest.mark.parametrize("stream", [False, True])
def test_requests_of_a_disconnected_client_are_cancelled(server: Process, stream: bool) -> None:
    """Both a running image and queued images are cancelled."""
    names = ("triptych_pictures_total", "triptych_cancelled_total")
    before = [counted(server, name) for name in names]
    body = LONG | {"num_inference_steps": 900, "stream": stream}  # of seconds on a fast processor too
    for seconds in (0.5, 0.1):
        with (
            pytest.raises(httpx2.ReadTimeout),
            httpx2.stream("POST", server.url + GENERATIONS, json=body | {"n": 3}, timeout=seconds) as answer,
        ):
            answer.read()
    deadline = time.monotonic() + 10
    while counted(server, names[1]) < before[1] + 6:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert counted(server, "triptych_queue_depth") == 0
    httpx2.post(server.url + GENERATIONS, json=BODY, timeout=60).raise_for_status()
    assert [counted(server, name) for name in names] == [before[0] + 1, before[1] + 6], (
        "only the last image was generated"
    )


def test_a_body_that_is_too_large_or_too_slow_is_rejected_before_it_is_read(package: Path, tmp_path: Path) -> None:
    """Only the headers are sent, never the body."""
    with process(tmp_path / "log", package, "--max-body", "1000", "--timeout", "0.5") as running:
        url = httpx2.URL(running.url)
        for length, status in ((1001, b"413"), (1000, b"408")):
            with socket.create_connection((url.host, url.port), timeout=10) as connection:
                head = (
                    f"POST /v1/images/edits HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
                    "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
                )
                connection.sendall(head.encode())
                received = b""
                while piece := connection.recv(65536):  # until it is closed
                    received += piece
                assert received.startswith(b"HTTP/1.1 " + status), received


@pytest.mark.parametrize("key", [None, "geheim"])
def test_a_client_that_is_still_sending_receives_the_error(
    package: Path, tmp_path: Path, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is closed at once breaks before the client reads the response."""
    if key is not None:
        monkeypatch.setenv("TRIPTYCH_API_KEY", key)
    with process(tmp_path / "log", package) as running:
        for _ in range(5):
            answer = httpx2.post(running.url + GENERATIONS, json=BODY | {"prompt": "x" * (1 << 25)})
            assert answer.status_code == (413 if key is None else 401)


def test_sigterm_finishes_accepted_requests_and_rejects_new_ones(package: Path, tmp_path: Path) -> None:
    with process(tmp_path / "log", package) as running:
        thread, answers = in_background(running, LONG | {"n": 2})
        running.tell(signal.SIGTERM)
        running.until("/readyz", 503, "stopping")
        assert httpx2.get(running.url + "/healthz").status_code == 200
        rejected = httpx2.post(running.url + GENERATIONS, json=BODY)
        assert (rejected.status_code, rejected.json()["error"]["code"]) == (503, "stopping")
        thread.join()
        assert answers[0].status_code == 200
        assert len(answers[0].json()["data"]) == 2
        assert running.status() == 0


def test_a_second_signal_cancels_accepted_requests(package: Path, tmp_path: Path) -> None:
    with process(tmp_path / "log", package, "--max-steps", "4000") as running:
        thread, answers = in_background(running, LONG | {"num_inference_steps": 900, "n": 2})
        running.tell(signal.SIGTERM)
        running.until("/readyz", 503, "stopping")
        running.tell(signal.SIGTERM)
        assert running.status(10) == -signal.SIGTERM
        thread.join()
        assert answers[0].status_code == 503


@pytest.mark.parametrize("log_prompts", [False, True])
def test_the_truncated_part_of_a_prompt_is_in_the_log_only_if_enabled(
    static_package: Path, tmp_path: Path, log_prompts: bool
) -> None:
    with process(tmp_path / "log", static_package, *["--log-prompts"] * log_prompts) as running:
        body = {"prompt": "a " * 75 + "zebra", "num_inference_steps": 2}
        httpx2.post(running.url + GENERATIONS, json=body, timeout=60).raise_for_status()
    assert ("left out: 'zebra'" in (tmp_path / "log").read_text()) == log_prompts


def test_a_key_may_come_from_the_environment(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_API_KEY", "geheim")
    with process(tmp_path / "log", package, "--host", "0.0.0.0") as running:
        port = httpx2.URL(running.url).port
        clients = {
            key: openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key) for key in ("geheim", "other")
        }
        assert clients["geheim"].models.list().data
        with pytest.raises(openai.AuthenticationError):
            clients["other"].models.list()
    assert "geheim" not in (tmp_path / "log").read_text()


def test_access_from_other_machines_needs_a_key_or_an_option(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for host in ("0.0.0.0", "::", "10.0.0.1"):
        assert "set a key (--api-key or TRIPTYCH_API_KEY), or pass --without-api-key" in refused(
            "serve", package, "--host", host, capsys=capsys
        )
    assert "is empty" in refused("serve", package, "--api-key", "", capsys=capsys)
    with process(tmp_path / "log", package, "--host", "0.0.0.0", "--without-api-key") as running:
        running.until("/v1/models", 200)


def test_startup_errors_are_one_line(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], server: Process
) -> None:
    assert "is not a package" in refused("serve", tmp_path, capsys=capsys)
    port = httpx2.URL(server.url).port
    assert "cannot listen at 127.0.0.1" in refused("serve", package, "--port", port, capsys=capsys)
    assert "unknown memory policy" in refused("serve", package, "--port", 0, "--memory", "all", capsys=capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--timeout", "nan"), "nan is not a number"),
        (("--timeout", "inf"), "inf is not in the range"),
        (("--wait", "nan"), "nan is not a number"),
        (("--wait", "inf"), "inf is not in the range"),
        (("--host", "", "--without-api-key"), "host=''; allowed: a name or address of this machine"),
        (("--host", "\udcff", "--without-api-key"), "host='\\udcff'; allowed: a name or address of this machine"),
        (("--host", "a" * 80 + ".example", "--without-api-key"), "cannot listen at aaa"),
        (("--api-key", "a\nb"), "the API key cannot be sent in a header"),
        (("--api-key", " a"), "the API key cannot be sent in a header"),
        (("--api-key", "a\udcffb"), "the API key cannot be sent in a header"),
    ],
    ids=str,
)
def test_an_option_that_cannot_work_is_refused_before_a_package_is_loaded(
    package: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert message in refused("serve", package, "--port", 0, *options, capsys=capsys)


def test_missing_fastapi_is_one_line() -> None:
    line = refused_without("fastapi", "serve", "package")
    assert line == "error: `triptych serve` needs fastapi, which is not installed: pip install 'triptych[serve]'"


def test_other_commands_do_not_import_the_service() -> None:
    script = "import sys, triptych.runtime.cli.commands; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert {"fastapi", "uvicorn", "prometheus_client", "pydantic", "triptych.runtime.service"}.isdisjoint(loaded)
