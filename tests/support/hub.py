"""A model hub on this machine."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.utils._http
import pytest

COMMIT = "c0ffee" + "0" * 34


@contextmanager
def serving(folder: Path, hub_id: str, cache: Path) -> Iterator[list[str]]:
    """Serve the files of `folder` as the only repository of the hub; yields the list of downloaded files."""
    asked: list[str] = []
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = self.path.partition("?")[0]
            name = path.removeprefix(f"/{hub_id}/resolve/{COMMIT}/")
            if path.startswith(f"/api/models/{hub_id}/tree/"):
                listed = [{"type": "file", "path": each, "size": 1, "oid": "0"} for each in files]
                self.send(json.dumps(listed).encode(), "application/json")
            elif path.startswith(f"/api/models/{hub_id}/revision/"):
                listed = [{"rfilename": each} for each in files]
                info = {"id": hub_id, "modelId": hub_id, "sha": COMMIT, "siblings": listed, "private": False}
                self.send(json.dumps(info).encode(), "application/json")
            elif name in files:
                if self.command == "GET":
                    asked.append(name)
                self.send(files[name].read_bytes(), "application/octet-stream")
            else:
                self.send_error(404)

        def send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            headers = {"Content-Type": kind, "Content-Length": str(len(body)), "X-Repo-Commit": COMMIT}
            for header, value in (headers | {"ETag": f'"{hashlib.sha1(body).hexdigest()}"'}).items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    constants = {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }
    # before 1.0 a session that was opened offline stayed so
    getattr(huggingface_hub.utils._http, "reset_sessions", lambda: None)()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in constants.items():
                patch.setattr(f"huggingface_hub.constants.{name}", value)
            # before 1.0 the client looked up its own copy
            template = "huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE"
            patch.setattr(template, constants["HUGGINGFACE_CO_URL_TEMPLATE"], raising=False)
            yield asked
    finally:
        server.shutdown()
        server.server_close()
