"""A model hub on this machine: repositories with commits, downloads with ranges, uploads, and faults on request."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import huggingface_hub.utils._http
import pytest

COMMIT = "c0ffee" + "0" * 34
_LARGE = (".onnx", ".onnx_data", ".pb")


def files_of(folder: Path) -> dict[str, bytes]:
    """Path -> content of the files of a folder."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@dataclass
class Repository:
    """A repository of the hub.

    Attributes:
        commits: commit -> path -> content.
        branches: branch or tag -> commit.
        gated: access is refused.
        private: as it was made.
    """

    commits: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: Mapping[str, bytes], branch: str = "main", commit: str | None = None) -> str:
        """Add a commit to a branch, and return its name."""
        commit = commit or hashlib.sha1(f"{branch} {len(self.commits)} {sorted(files)}".encode()).hexdigest()
        self.commits[commit] = files
        self.branches[branch] = commit
        return commit


@dataclass
class Hub:
    """State of the hub.

    Attributes:
        repositories: by id.
        downloads: files that were downloaded, in order; one that was cut off is there each time.
        ranges: values of the header Range.
        altered: path -> content that is sent in place of the file's.
        cut: path -> bytes that are sent before the connection breaks, once.
        uploaded: digest -> content of large files.
        address: of the server.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    downloads: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    altered: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    address: str = ""

    def add(self, hub_id: str, files: Mapping[str, bytes], branch: str = "main", commit: str | None = None) -> str:
        """Add a commit to a repository, which is made if there is none, and return its name."""
        return self.repositories.setdefault(hub_id, Repository()).commit(files, branch, commit)


class Refusal(Exception):
    """An answer with an error: status, and the hub's code for it."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(status, code)
        self.status, self.code = status, code


class Handler(BaseHTTPRequestHandler):
    """Answers to the requests that huggingface_hub makes."""

    hub: Hub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            for pattern, method in ROUTES:
                found = re.fullmatch(pattern, path)
                if found:
                    method(self, *found.groups(), *([body] if self.command in ("POST", "PUT") else []))
                    return
            raise Refusal(404, "EntryNotFound")
        except Refusal as refusal:
            self.send({"error": refusal.code}, refusal.status, refusal.code)

    def repository(self, hub_id: str) -> Repository:
        repository = self.hub.repositories.get(hub_id)
        if repository is None:
            raise Refusal(404, "RepoNotFound")
        return repository

    def at(self, hub_id: str, revision: str) -> tuple[str, Mapping[str, bytes]]:
        """Commit of a revision, and its files."""
        repository = self.repository(hub_id)
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            raise Refusal(404, "RevisionNotFound")
        return commit, repository.commits[commit]

    def info(self, hub_id: str, revision: str = "main") -> None:
        commit, files = self.at(hub_id, revision)
        listed = [{"rfilename": each} for each in files]
        self.send({"id": hub_id, "modelId": hub_id, "sha": commit, "siblings": listed, "private": False})

    def tree(self, hub_id: str, revision: str) -> None:
        _, files = self.at(hub_id, revision)
        self.send([entry(name, content) for name, content in files.items()])

    def resolve(self, hub_id: str, revision: str, name: str) -> None:
        commit, files = self.at(hub_id, revision)
        if self.repository(hub_id).gated:
            raise Refusal(403, "GatedRepo")
        if name not in files:
            raise Refusal(404, "EntryNotFound")
        content = self.hub.altered.get(name, files[name])
        facts = entry(name, files[name])
        digest = facts["lfs"]["oid"] if "lfs" in facts else facts["oid"]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(wanted[1]) if wanted else 0
        if self.command == "GET":
            self.hub.downloads.append(name)
        if wanted:
            self.hub.ranges.append(wanted[0])
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for header in ("ETag", *(["X-Linked-Etag"] if "lfs" in facts else [])):
            self.send_header(header, f'"{digest}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[start : self.hub.cut.pop(name, None)])

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        hub_id = asked["name"] if not asked.get("organization") else f"{asked['organization']}/{asked['name']}"
        facts = {"url": f"{self.hub.address}/{hub_id}", "name": hub_id, "id": hub_id}
        if hub_id in self.hub.repositories:
            self.send(facts, 409)
            return
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        self.hub.repositories[hub_id] = made = Repository(private=private)
        made.commit({})
        self.send(facts)

    def card(self, body: bytes) -> None:
        wrong = [{"message": '"licence" is not allowed'}] if b"licence:" in body else []
        self.send({"errors": wrong, "warnings": []}, 400 if wrong else 200)

    def branch(self, hub_id: str, branch: str, body: bytes) -> None:
        repository = self.repository(hub_id)
        if branch in repository.branches:
            raise Refusal(409, "")
        repository.branches[branch] = repository.branches["main"]
        self.send({})

    def preupload(self, hub_id: str, revision: str, body: bytes) -> None:
        self.at(hub_id, revision)
        names = [each["path"] for each in json.loads(body)["files"]]
        modes = [("lfs" if name.endswith(_LARGE) else "regular", name) for name in names]
        self.send({"files": [{"path": name, "uploadMode": mode, "shouldIgnore": False} for mode, name in modes]})

    def batch(self, hub_id: str, body: bytes) -> None:
        objects = json.loads(body)["objects"]
        for each in objects:
            each["actions"] = {"upload": {"href": f"{self.hub.address}/upload/{each['oid']}"}}
        self.send({"transfer": "basic", "objects": objects})

    def upload(self, digest: str, body: bytes) -> None:
        assert hashlib.sha256(body).hexdigest() == digest
        self.hub.uploaded[digest] = body
        self.send({})

    def commit(self, hub_id: str, revision: str, body: bytes) -> None:
        _, before = self.at(hub_id, revision)
        files = dict(before)
        for line in body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            elif item["key"] == "lfsFile":
                files[item["value"]["path"]] = self.hub.uploaded[item["value"]["oid"]]
        commit = self.repository(hub_id).commit(files, revision)
        url = f"{self.hub.address}/{hub_id}/commit/{commit}"
        self.send({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def send(self, value: Any, status: int = 200, code: str | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        if code is not None:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


_ID = r"([\w.-]+/[\w.-]+)"
ROUTES: tuple[tuple[str, Callable[..., None]], ...] = (
    (r"/api/repos/create", Handler.create),
    (r"/api/validate-yaml", Handler.card),
    (rf"/api/models/{_ID}", Handler.info),
    (rf"/api/models/{_ID}/revision/(.+)", Handler.info),
    (rf"/api/models/{_ID}/tree/(.+)", Handler.tree),
    (rf"/api/models/{_ID}/branch/(.+)", Handler.branch),
    (rf"/api/models/{_ID}/preupload/(.+)", Handler.preupload),
    (rf"/api/models/{_ID}/commit/(.+)", Handler.commit),
    (rf"/{_ID}\.git/info/lfs/objects/batch", Handler.batch),
    (rf"/{_ID}/resolve/([^/]+)/(.+)", Handler.resolve),
    (r"/upload/(\w+)", Handler.upload),
)


def entry(name: str, content: bytes) -> dict[str, Any]:
    """A file in the listing of a commit."""
    facts: dict[str, Any] = {"type": "file", "path": name, "size": len(content)}
    if name.endswith(_LARGE):
        facts["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return {**facts, "oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}


@contextmanager
def running(cache: Path) -> Iterator[Hub]:
    """An empty hub; its client has `cache` for its cache folder, and is online."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    constants = {
        "ENDPOINT": hub.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.address + "/{repo_id}/resolve/{revision}/{filename}",
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
            yield hub
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def serving(folder: Path, hub_id: str, cache: Path) -> Iterator[list[str]]:
    """Serve the files of `folder` as the only repository of the hub; yields the list of downloaded files."""
    with running(cache) as hub:
        hub.add(hub_id, files_of(folder), commit=COMMIT)
        yield hub.downloads
