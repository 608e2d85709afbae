"""Processes of peers, and their errors."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.peers import here
from triptych.benchmarks.peers.client import Client, PeerError
from triptych.benchmarks.peers.environments import python_of
from triptych.benchmarks.peers.work import Setting
from triptych.runtime.errors import TriptychError


def test_a_worker_says_why_and_lives_on(package: Path, checkpoint: Path) -> None:
    setting = Setting(str(checkpoint), str(package), 1, "")
    size = {"batch": 1, "height": 128, "width": 128}
    with Client(here("onnxruntime"), setting, timeout=60) as client:
        with pytest.raises(PeerError, match="KeyError: 'unet'"):
            client.ask("call", component="unet", size=size)
        client.ask("load", components=["text_encoder"], size=size)
        assert client.ask("call", component="text_encoder", size=size)["seconds"] > 0
        state = Path(f"/proc/{client._process.pid}/stat").read_text().split()[2]
        assert state in ("T", "R", "S")  # on its way to being stopped
        client.timeout = 1e-4
        with pytest.raises(PeerError, match="no answer in 0 s"):
            client.ask("load", components=["unet"], size=size)


def test_a_worker_that_cannot_start_says_why(package: Path) -> None:
    setting = Setting("", str(package / "none"), 1, "")
    with pytest.raises(PeerError, match=r"ended with status 1: .*PackageError.*not a folder"):
        Client(here("onnxruntime"), setting, timeout=60)


def test_a_missing_environment_says_how_it_is_made(package: Path, checkpoint: Path) -> None:
    with pytest.raises(TriptychError, match=r"no environment openvino in .*peers install openvino") as caught:
        python_of("openvino")
    assert "\n" not in str(caught.value)
    command: list[str | Path] = [Path(sys.executable).with_name("triptych"), "bench", package, "--against", "optimum"]
    done = subprocess.run([*command, "--checkpoint", checkpoint], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no environment optimum in ")
    assert done.stderr.count("\n") == 1
