"""Requests that try to read files, run programs, fill memory or disk, and a service that is killed."""

import contextlib
import io
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.images import example_image

from .serving import BODY, EDITS, GENERATIONS, LONG, Process, Service, png, process, service

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
MEGABYTE = 1 << 20

AUDITED = ("open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.exec")

_watched: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None and event in (
        "open",
        "socket.connect",
        "socket.getaddrinfo",
        "subprocess.Popen",
        "os.exec",
    ):
        _watched.append(f"{event} {arguments!r}")


sys.addaudithook(_audit)  # it cannot be removed again


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """Files that are opened, and hosts and programs that are called."""
    global _watched
    _watched = []
    try:
        yield _watched
    finally:
        _watched = None


@pytest.fixture(scope="module")
def with_page(package: Path) -> Iterator[Service]:
    with service(package, ui=True) as running:
        yield running


GRADIO = (
    "/config",
    "/gradio_api/info",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/upload",
    "/gradio_api/component_server",
    "/gradio_api/queue/join",
    "/gradio_api/queue/data",
    "/gradio_api/proxy=http://127.0.0.1:1/",
    "/file=/etc/passwd",
    "/proxy=http://127.0.0.1:1/",
    "/static/../../etc/passwd",
)
"""Endpoints of the toolkit of an earlier page, which read files, kept uploads and ran programs."""


@pytest.mark.parametrize("path", GRADIO)
def test_there_are_no_endpoints_of_a_toolkit(with_page: Service, path: str) -> None:
    form = {"type": "layer", "index": "100000000", "id": "a", "component_id": "1", "session_hash": "s"}
    assert with_page.client.get(path).status_code == 404
    assert with_page.client.post(path, json={"data": [{"path": "/etc/passwd"}], "fn_index": 10**9}).status_code == 404
    assert with_page.client.post(path, data=form, files={"file": ("a.png", POSTSCRIPT)}).status_code == 404


@pytest.mark.parametrize("named", ["/etc/shadow-of-a-test", "file:///etc/shadow-of-a-test", "http://shadow-of-a-test/"])
def test_nothing_that_a_request_names_is_opened_or_fetched(with_page: Service, named: str) -> None:
    client = with_page.client
    texts = ("prompt", "negative_prompt", "model", "scheduler", "size", "user", "response_format", "output_format")
    with watched() as events:
        for field in texts:
            client.post(GENERATIONS, json=BODY | {field: named})
        client.post(GENERATIONS, json=BODY | {"scheduler_options": {named: named}})
        client.post(GENERATIONS, json=BODY | {named: {"path": named}})
        for field in ("image", "mask"):
            assert client.post(EDITS, data={"prompt": "fox", field: named}).status_code == 400
        image = (named, png(example_image()), "image/png")
        files = {"image": image, "mask": (f"../../{named}", b"no image", named)}
        client.post(EDITS, data={"prompt": "fox"}, files=files)
        client.get("/v1/models/" + named)
        client.get("/page/" + named, headers={"Referer": named, "X-Forwarded-For": named})
    assert not [each for each in events if "shadow-of-a-test" in each]


@pytest.mark.parametrize("field", ["image", "mask"])
def test_no_program_is_run_for_an_upload(
    with_page: Service, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    files = {"image": ("a.png", png(example_image()), "image/png"), field: ("a.png", POSTSCRIPT, "image/png")}
    with watched() as events:
        answer = with_page.client.post(EDITS, data={"prompt": "fox"}, files=files)
    assert answer.status_code == 400
    assert not [each for each in events if each.startswith(("subprocess", "os.exec"))]
    assert not (tmp_path / "called").exists()


def test_a_form_has_few_files(with_page: Service) -> None:
    files = [("image", (f"{number}.png", b"x")) for number in range(30)]
    answer = with_page.client.post(EDITS, data={"prompt": "fox"}, files=files)
    assert answer.status_code == 400
    assert "Too many files" in answer.json()["error"]["message"]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Empty folders for temporary files and settings."""
    found = {name: tmp_path / name.lower() for name in ("TMPDIR", "HOME")}
    for folder in found.values():
        folder.mkdir()
    return found


def environment(folders: dict[str, Path]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return inherited | {name: str(folder) for name, folder in folders.items()}


def files_of(folders: dict[str, Path]) -> set[str]:
    return {str(file) for folder in folders.values() for file in folder.rglob("*") if not file.is_dir()}


def resident(running: Process) -> int:
    """Resident memory, bytes."""
    return int(Path(f"/proc/{running.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def children(running: Process) -> str:
    return "".join(file.read_text() for file in Path(f"/proc/{running.pid}/task").glob("*/children")).strip()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_uploads_leave_memory_and_disk_as_they_were(
    package: Path, tmp_path: Path, folders: dict[str, Path]
) -> None:
    """Uploads of 20 MB that are no image, to the API and to endpoints that do not exist."""
    with process(tmp_path / "log", package, "--ui", env=environment(folders)) as running:
        upload = POSTSCRIPT + bytes(20 * MEGABYTE)

        def send(path: str) -> int:
            return httpx2.post(running.url + path, data={"prompt": "a"}, files={"image": ("a.png", upload)}).status_code

        send(EDITS)
        before, known = resident(running), files_of(folders)
        for _ in range(10):
            assert send(EDITS) == 400
            assert send("/gradio_api/upload") in (404, 413)
        assert resident(running) - before < 60 * MEGABYTE
        assert files_of(folders) == known
        assert children(running) == ""
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log


@pytest.mark.slow
def test_a_killed_service_leaves_nothing_that_the_next_start_keeps(
    slow_package: Path, tmp_path: Path, folders: dict[str, Path]
) -> None:
    """SIGKILL amid an upload that is larger than what is held in memory, and amid the generation of an image."""
    env = environment(folders)
    with process(tmp_path / "log", slow_package, env=env) as running:
        known = files_of(folders)
        with socket.create_connection(running.address) as upload, socket.create_connection(running.address) as stream:
            part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
            head = "\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"
            form = head.format("multipart/form-data; boundary=x", 9 * MEGABYTE).encode()
            upload.sendall(f"POST {EDITS} HTTP/1.1".encode() + form + part + bytes(4 * MEGABYTE))
            body = json.dumps(LONG | {"stream": True, "partial_images": 3}).encode()
            stream.sendall(f"POST {GENERATIONS} HTTP/1.1{head.format('application/json', len(body))}".encode() + body)
            received = io.BytesIO()
            while b"partial_image" not in received.getvalue():
                received.write(stream.recv(65536))
            opened = [os.readlink(each) for each in Path(f"/proc/{running.pid}/fd").iterdir()]
            assert [each for each in opened if str(folders["TMPDIR"]) in each], "the upload is in a temporary file"
            running.kill()
    assert files_of(folders) == known
    for file in (folders["HOME"] / ".cache/triptych/digests").glob("*.json"):  # killed while it was written
        file.rename(file.with_suffix(".abc.part"))
    with process(tmp_path / "log", slow_package, env=env) as running:
        assert files_of(folders) == known
