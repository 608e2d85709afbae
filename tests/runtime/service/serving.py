"""Service for tests: in this process, or as a separate process over loopback."""

import contextlib
import dataclasses
import io
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from fastapi.testclient import TestClient
from PIL import Image

from triptych.runtime.service.http.api import Extras, create_app
from triptych.runtime.service.http.kept import KeptImages
from triptych.runtime.service.http.models import Models
from triptych.runtime.service.limits import Limits, PoolLimits
from triptych.runtime.service.metrics import Metrics

LIMITS = Limits(pixels=128 * 128, steps=60, pictures=3, prompt=1500, body=500_000, upload_pixels=256 * 256, timeout=30)

BODY: dict[str, Any] = {"prompt": "a red fox", "size": "64x64", "num_inference_steps": 2, "seed": 7}
"""Fast request."""

LONG = BODY | {"num_inference_steps": 60, "size": "128x128"}
"""Slow request, of seconds."""

CALLER = ("127.0.0.1", 50000)

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"


class Service:
    """Application with its loaded packages and metrics."""

    def __init__(
        self,
        *packages: Path,
        batch: int | None = None,
        wait: float = 0.0,
        queue: int = 8,
        key: str | None = None,
        local: bool = True,
        log_prompts: bool = False,
        load: bool = True,
        ui: bool = False,
        loaded: PoolLimits = PoolLimits(),  # noqa: B008
        kept: KeptImages | None = None,
        sdapi: bool = False,
        **limits: Any,
    ) -> None:
        self.metrics = Metrics()
        self.models = Models(packages, self.metrics, batch=batch, wait=wait, queue=queue, loaded=loaded)
        if load:
            self.models.load({"device": "cpu"})
        self.app = create_app(
            self.models,
            dataclasses.replace(LIMITS, **limits),
            self.metrics,
            key=key,
            local=local,
            log_prompts=log_prompts,
            extras=Extras(ui, sdapi, kept),
        )
        self.client = TestClient(self.app, base_url="http://localhost", raise_server_exceptions=False, client=CALLER)

    def figure(self, name: str, **labels: str) -> float:
        """Sample of the metrics, 0 if there is none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def close(self) -> None:
        """Stop the worker threads."""
        self.models.abandon()
        self.models.join()


@contextlib.contextmanager
def service(*packages: Path, **options: Any) -> Iterator[Service]:
    """Service that is stopped at the end."""
    running = Service(*packages, **options)
    try:
        yield running
    finally:
        running.close()


class Process:
    """`triptych serve` as a separate process, at a free port; `log` is a file, `handles` its limit of file handles."""

    def __init__(
        self, log: Path, *arguments: object, env: dict[str, str] | None = None, handles: int | None = None
    ) -> None:
        command = [str(Path(sys.executable).with_name("triptych")), "serve", "--port", "0", *map(str, arguments)]
        if handles is not None:
            command = ["sh", "-c", f'ulimit -n {handles}; exec "$@"', "sh", *command]
        self.log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen([*command, "--device", "cpu"], stdout=file, stderr=file, env=env)
        self.url = self._wait_for(r"listening at (\S+)")

    def _wait_for(self, pattern: str, seconds: float = 60) -> str:
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.log.read_text())) is None:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return found.group(1)

    def until(self, path: str, status: int, text: str = "", seconds: float = 60) -> httpx2.Response:
        """Poll a path until the response has a status and a text."""
        deadline = time.monotonic() + seconds
        while True:
            answer = httpx2.get(self.url + path)
            if answer.status_code == status and text in answer.text:
                return answer
            assert time.monotonic() < deadline, f"{answer.status_code} {answer.text}"
            time.sleep(0.02)

    @property
    def address(self) -> tuple[str, int]:
        """Address and port."""
        url = httpx2.URL(self.url)
        return url.host, url.port or 80

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def tell(self, sent: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(sent)

    def status(self, seconds: float = 30) -> int:
        """Exit status, after waiting for the end."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """Kill the process at the end of a test, in any state."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def process(log: Path, *arguments: object, **options: Any) -> Iterator[Process]:
    """Process that is ready, and killed at the end."""
    running = Process(log, *arguments, **options)
    try:
        running.until("/readyz", 200)
        yield running
    finally:
        running.kill()


def png(image: Image.Image) -> bytes:
    """PNG file of an image."""
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def refused_without(module: str, *arguments: str) -> str:
    """Error line of `triptych` if a module is not installed."""
    script = (
        "import sys\n"
        f"sys.modules[{module!r}] = None\n"  # as if it were not installed
        f"sys.argv = ['triptych', *{arguments!r}]\n"
        "from triptych.runtime.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line
