"""The folder in which the blocks of a page are executed, and the packages, images and services in it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import save_file

from tests.docs.blocks import Block
from tests.support.images import example_image, mask
from tests.support.tiny_package import CHANNELS, write

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 1800
"""Seconds for a block of commands, and for a service to start."""
WIDTH = 44
"""Of the text encoder of tests/support/checkpoints.py."""

_SERVE = re.compile(r"^(triptych serve (?:.*\\\n)*.*\n)", re.MULTILINE)
_ADDRESS = "127.0.0.1:8000"


def package(folder: Path, kind: str = "stable-diffusion") -> None:
    """Write a tiny package with colours of latents, which an export fits."""
    file = write(folder, kind) / "triptych.json"
    manifest = json.loads(file.read_text())
    colours = {name: [0.25] * (CHANNELS + 1) for name in ("red", "green", "blue")}
    manifest["components"]["vae_decoder"]["latent_rgb"] = colours
    file.write_text(json.dumps(manifest))


def _embedding(file: Path, token: str) -> None:
    save_file({token: np.ones((1, WIDTH), np.float32)}, file)


def _linked(place: str) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(REPOSITORY / place)

    return link


GIVEN: Mapping[str, Callable[[Path], Any]] = {
    "sd15": package,
    "sdxl": lambda folder: package(folder, "sdxl"),
    "sdxl-refiner": lambda folder: package(folder, "sdxl-refiner"),
    "models/emoji": _linked("models/emoji"),
    "models/emoji-package": package,
    "examples/first_image.py": _linked("examples/first_image.py"),
    "fox.png": lambda file: example_image().save(file),
    "mask.png": lambda file: mask().save(file),
    "prompts.txt": lambda file: file.write_text("a red fox\nan owl in the snow\n"),
    "cat-toy.safetensors": lambda file: _embedding(file, "<cat-toy>"),
    "style.safetensors": lambda file: _embedding(file, "style"),
}
"""Names that pages use, and how each is made."""


def uses(code: str, name: str) -> bool:
    """Whether the code of a page uses a name that none of its commands makes."""
    word = rf"{re.escape(name)}(?![\w./-])"
    made = rf"(?:-o|--out|triptych (?:export|pull) \S+) {word}"
    return bool(re.search(rf"(?<![\w./-]){word}", code)) and not re.search(made, code)


class Workplace:
    """Executes the blocks of one page in order: commands in a shell, Python in one namespace of this process.

    `triptych serve` runs beside the blocks after it, until the next one or the end of the page. Its port is a free one
    in place of 8000.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = Path(sys.executable).parent
        (folder.parent / ".curlrc").write_text("fail\n")  # an answer with an error is a command that failed
        changed = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "CURL_HOME": str(folder.parent)}
        self._variables = {**os.environ, **changed}
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._service: subprocess.Popen[bytes] | None = None
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = str(found.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, block: Block, page: Path) -> None:
        """Execute a block of the page."""
        text = block.text.replace(_ADDRESS, f"127.0.0.1:{self._port}")
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + text, str(page), "exec"), self._names)
            return
        for commands in _SERVE.split(text):
            if _SERVE.fullmatch(commands):
                self._serve(commands)
            elif commands.strip():
                self._execute(commands, f"{page}:{block.line}")

    def _execute(self, commands: str, place: str) -> None:
        given: dict[str, Any] = {"cwd": self.folder, "env": self._variables, "stdin": subprocess.DEVNULL}
        shell = ["sh", "-euc", commands]
        done = subprocess.run(shell, **given, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, f"{place}: exit status {done.returncode}\n{commands}\n{done.stdout}{done.stderr}"

    def _serve(self, command: str) -> None:
        self._stop()
        shell = ["sh", "-euc", command.replace("triptych serve", f"exec triptych serve --port {self._port}", 1)]
        log = self.folder.with_suffix(".log")
        with log.open("wb") as file:
            self._service = subprocess.Popen(shell, cwd=self.folder, env=self._variables, stdout=file, stderr=file)
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            assert self._service.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=PATIENCE):
                return True
        except OSError:
            return False

    def _stop(self) -> None:
        if self._service is not None:
            self._service.kill()
            self._service.wait()
            self._service = None
