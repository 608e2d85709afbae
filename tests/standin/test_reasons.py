"""Broken set-ups: each ends with the cause and what helps, as a ProviderError, and nothing on stdout."""

import ctypes
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import once
from tests.support.tiny_package import write

from .environment import Environment
from .process import Finished, run
from .setups import BROKEN, NO_CONVOLUTION, TWO_DEVICES, WHOLE, Setup

pytestmark = pytest.mark.slow

TRIPTYCH = ("-c", "from triptych.runtime.cli import main; main()")


@dataclass(frozen=True)
class Case:
    """A set-up, how the device is asked for, and what the reason must contain: the cause, and what helps."""

    words: tuple[str, ...]
    setup: Setup = WHOLE
    device: str = "cuda"
    option: str | None = None


CASES = {
    "no driver": Case(("libcuda.so.1: cannot open shared object file", "driver, 580 or later"), BROKEN["no driver"]),
    "old driver": Case(
        ("CUDA driver version is insufficient", "driver 580 or later", "runs CUDA 12.4 at most"), BROKEN["old driver"]
    ),
    "no device": Case(("no CUDA-capable device is detected", "nvidia-smi"), BROKEN["no device"]),
    "no second device": Case(("there is no device 1", "allowed: 0"), device="cuda:1"),
    "no cuDNN": Case(("libcudnn.so", "pip install nvidia-cudnn-cu13"), BROKEN["no cuDNN"]),
    "no convolution": Case(("CUDNN_FE failure", "pip install --upgrade nvidia-cudnn-cu13"), NO_CONVOLUTION),
    "no cuBLAS": Case(("libcublas.so.13", "pip install nvidia-cublas"), BROKEN["no cuBLAS"]),
    "misspelt option": Case(
        ("'arena_extend_strateg'", "did you mean arena_extend_strategy?"), option="arena_extend_strateg=x"
    ),
    "wheel of another CUDA": Case(("libcublasLt.so.12", "built for CUDA 12"), BROKEN["wheel of another CUDA"]),
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "written/tiny", write)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    found = CASES[request.param]
    if found.setup.missing is not None and _is_installed(found.setup.missing):
        pytest.skip(f"this machine has a {found.setup.missing} of its own")
    return found


def _is_installed(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def load(standin: Environment, folder: Path, package: Path, case: Case, device: str) -> Finished:
    options = json.dumps(dict([case.option.split("=")] if case.option else []))
    program = ("-m", "tests.standin.programs.load", package, device, options)
    finished = run(standin, folder, *program, setup=case.setup)
    assert finished.status == 0, finished.stderr
    return finished


def test_cuda_is_refused_with_the_reason(standin: Environment, package: Path, tmp_path: Path, case: Case) -> None:
    found = json.loads(load(standin, tmp_path, package, case, case.device).stdout)  # nothing else is on stdout
    assert found["error"] == "ProviderError"
    assert found["message"].startswith(f"device '{case.device}' cannot run here: ")
    for word in case.words:
        assert word in found["message"]
    assert "\n" not in found["message"]
    assert "installed together" not in found["message"]  # the wheels are in folders of their own


def test_the_command_prints_one_line(standin: Environment, package: Path, tmp_path: Path, case: Case) -> None:
    options = ("--provider-option", case.option) if case.option else ()
    out = tmp_path / "out"
    command = ("generate", package, "fox", "--device", case.device, *options, "--out", out)
    finished = run(standin, tmp_path, *TRIPTYCH, *command, setup=case.setup)
    assert finished.status == 2
    assert finished.stdout == ""
    (line,) = finished.stderr.strip().splitlines()
    assert line.startswith(f"error: device '{case.device}' cannot run here: ")
    for word in case.words:
        assert word in line
    assert [*out.glob("*")] == []


@pytest.mark.parametrize("name", BROKEN)
def test_auto_warns_and_runs_on_the_cpu(standin: Environment, package: Path, tmp_path: Path, name: str) -> None:
    found = json.loads(load(standin, tmp_path, package, CASES[name], "auto").stdout)
    assert found["provider"] == "CPUExecutionProvider"
    (warning,) = found["warnings"]
    for word in CASES[name].words:
        assert word in warning


@pytest.mark.parametrize("name", BROKEN)
def test_the_doctor_gives_the_reason(standin: Environment, tmp_path: Path, name: str) -> None:
    finished = run(standin, tmp_path, *TRIPTYCH, "doctor", "--json", setup=CASES[name].setup)
    assert finished.stderr == ""
    reason = json.loads(finished.stdout)["providers"]["cuda"]
    for word in CASES[name].words:
        assert word in reason


@pytest.mark.parametrize(("device", "setup"), [("auto", WHOLE), ("cuda", WHOLE), ("cuda:1", TWO_DEVICES)])
def test_a_whole_machine_runs_cuda(
    standin: Environment, package: Path, tmp_path: Path, device: str, setup: Setup
) -> None:
    found = json.loads(load(standin, tmp_path, package, Case((), setup), device).stdout)
    assert found == {"provider": "CUDAExecutionProvider", "warnings": []}
