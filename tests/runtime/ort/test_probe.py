import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from triptych.runtime.ort import probe
from triptych.runtime.ort.probe import available_providers, installed_wheels, wheels_in_conflict, why_not
from triptych.runtime.ort.providers import CPU, CUDA


@pytest.fixture(autouse=True)
def fresh() -> None:
    probe._preload_cuda.cache_clear()


def test_the_probe_runs_a_convolution_a_product_and_an_addition() -> None:
    """CUDA opens cuDNN for the first convolution only."""
    session = onnxruntime.InferenceSession(probe._probe(), providers=[CPU])
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    (y,) = session.run(None, {"x": x})
    padded = np.pad(x[0, 0], 1)
    sums = sum(padded[i : i + 4, j : j + 4] for i in range(3) for j in range(3))
    np.testing.assert_array_equal(y[0, 0], sums + x[0, 0])


def test_a_session_is_opened_without_a_fall_back(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With ONNX Runtime's own fallback the error was lost in a banner on stdout, and the CPU ran the probe."""

    def refuse(*_: Any) -> None:
        raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=host")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", refuse)
    reason = why_not(CPU)
    assert reason is not None
    assert reason.startswith("CUDA failure 100: no CUDA-capable device is detected; see nvidia-smi")
    assert capfd.readouterr().out == ""


def raising(message: str, names: dict[str, str]) -> Any:
    """`InferenceSession` that refuses options with a message of ONNX Runtime, and without any has those of `names`."""

    def session(_: bytes, __: Any, *, providers: list[tuple[str, dict[str, str]]], enable_fallback: int) -> Any:
        assert enable_fallback == 0
        ((name, options),) = providers
        if options:
            raise RuntimeError(message)
        return SimpleNamespace(get_provider_options=lambda: {name: names})

    return session


PARSE = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc:63 static onnxruntime::"
    "CUDAExecutionProviderInfo onnxruntime::CUDAExecutionProviderInfo::FromProviderOptions(const onnxruntime::"
    "ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:187 Parse "
)


@pytest.mark.parametrize(
    ("options", "message", "reason"),
    [
        (
            {"use_tf23": "0"},
            f'{PARSE}Unknown provider option: "use_tf23".\n',
            "unknown provider option 'use_tf23'; did you mean use_tf32?",
        ),
        (
            {"gpu_mem_limit": "lots"},
            f'{PARSE}Failed to parse provider option "gpu_mem_limit": parse_string.h:116 ParseStringWithClassicLocale '
            'Failed to parse value: "18446744073709551615"\n',
            "provider option gpu_mem_limit=lots has a value that ONNX Runtime cannot read",
        ),
        (
            {"device_id": "1"},
            f'{PARSE}Failed to parse provider option "device_id": cuda_execution_provider_info.cc:71 operator() '
            "Invalid device ID: 1, must be between 0 (inclusive) and 1 (exclusive).\n",
            "there is no device 1; allowed: 0",
        ),
        (
            {"device_id": "7"},
            f'{PARSE}Failed to parse provider option "device_id": cuda_execution_provider_info.cc:71 operator() '
            "Invalid device ID: 7, must be between 0 (inclusive) and 4 (exclusive).\n",
            "there is no device 7; allowed: 0 to 3",
        ),
    ],
)
def test_refused_options_are_named(
    options: dict[str, str], message: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"use_tf32": "1", "gpu_mem_limit": "0", "device_id": "0", "enable_cuda_graph": "0"}
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", raising(message, names))
    assert why_not(CUDA, options) == reason


def test_libraries_are_loaded_before_onnxruntime_is_asked_for_its_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA provider that is a plug-in is registered by `preload_dlls`."""
    found = [CPU]
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: found.insert(0, CUDA))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(found))
    assert available_providers() == [CUDA, CPU]
    probe._preload_cuda.cache_clear()
    found[:] = [CPU]
    works = SimpleNamespace(get_providers=lambda: list(found), run=lambda *_: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: works)
    assert why_not(CUDA) is None


def test_what_onnxruntime_prints_of_libraries_is_the_reason_of_a_refusal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = "libcufft.so.12: cannot open shared object file: No such file or directory"
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print(f"Failed to load libcufft.so.12: {line}"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: SimpleNamespace(get_providers=lambda: [CPU]))
    reason = why_not(CUDA)
    assert reason is not None
    assert reason.startswith(line)
    assert "pip install nvidia-cufft" in reason
    assert capfd.readouterr().out == ""


def install(folder: Path, name: str, version: str) -> None:
    """A wheel in a folder, as far as it is looked at."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "onnxruntime").mkdir(exist_ok=True)


def test_wheels_are_in_conflict_only_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path / "one"), str(tmp_path / "two")])
    install(tmp_path / "one", "onnxruntime-gpu", "1.31.1")
    install(tmp_path / "two", "onnxruntime", "1.32.0")
    assert installed_wheels() == {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"}
    assert wheels_in_conflict() == []
    install(tmp_path / "two", "onnxruntime-openvino", "1.24.1")
    assert wheels_in_conflict() == ["onnxruntime", "onnxruntime-openvino"]
