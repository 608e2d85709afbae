"""Messages are those of onnxruntime-gpu 1.31.1, and of older ones in its issues, with the machine's name replaced."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from triptych.runtime.errors import ArgumentError, ProviderError
from triptych.runtime.ort import nvidia
from triptych.runtime.ort.failures import device_errors, device_failure, run_error
from triptych.runtime.ort.library import ort
from triptych.runtime.ort.memory import Buffer, Memory, synchronize, to_host

CALL = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 std::conditional_t<THRW, void, onnxruntime::"
    "common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, SUCCTYPE, const char*, const char*, int) "
    "[with ERRTYPE = cudaError; bool THRW = true; SUCCTYPE = cudaError; std::conditional_t<THRW, void, common::Status> "
    "= void] "
)
AT = " ; GPU=0 ; hostname=host ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/a.cc ; line=3 ; expr=f(x); \n"
RUN = "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. Name:'' Status Message: "
ARENA = (
    "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal("
    "size_t, bool, onnxruntime::Stream*) "
)
NO_CUDNN = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_kernel.h:296 static cudnnContext* onnxruntime::cuda::"
    "CudaKernel::RequireCudnnHandle(cudnnHandle_t) [ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : cuDNN is unavailable or "
    "disabled for CUDA Execution Provider: dlopen failed for libcudnn.so: libcudnn.so: cannot open shared object file: "
    "No such file or directory"
)


@pytest.fixture(autouse=True)
def cuda_13(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "cuda_version", "13.0", raising=False)


@pytest.mark.parametrize(
    ("message", "cause", "remedy"),
    [
        (
            f"{CALL}{CALL}CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version{AT}",
            "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version",
            "built for CUDA 13.0, needs the NVIDIA driver 580 or later",
        ),
        (
            f"{CALL}CUDA failure 100: no CUDA-capable device is detected{AT}",
            "CUDA failure 100: no CUDA-capable device is detected",
            "CUDA_VISIBLE_DEVICES",
        ),
        (f"{RUN}{CALL}CUDA failure 2: out of memory{AT}", "CUDA failure 2: out of memory", "a smaller size"),
        (
            f"{RUN}{ARENA}Failed to allocate memory for requested buffer of size 1048576\n",
            "Failed to allocate memory for requested buffer of size 1048576",
            "a smaller size",
        ),
        (
            f"{RUN}\n{ARENA}Available memory of 0 is smaller than requested bytes of 256",
            "Available memory of 0 is smaller than requested bytes of 256",
            "gpu_mem_limit",
        ),
        (
            f"{RUN}CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available for execution on the device",
            "CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available for execution on the device",
            "no kernels for this card",
        ),
        (f"{RUN}{NO_CUDNN}", "cuDNN is unavailable or disabled", "pip install nvidia-cudnn-cu13"),
        (
            f"{RUN}OP not supported by CUDNN Frontend: {CALL}"
            f"CUDNN_FE failure 6: GRAPH_EXECUTION_PLAN_CREATION_FAILED{AT}"
            ' with the cudnn frontend json:\n{"context":{}}',
            "CUDNN_FE failure 6: GRAPH_EXECUTION_PLAN_CREATION_FAILED",
            "pip install --upgrade nvidia-cudnn-cu13",
        ),
        (
            f"{RUN}\nCUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; \nGPU=0 ; \nhostname=host",
            "CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED",
            "pip install --upgrade nvidia-cudnn-cu13",
        ),
        (
            f"{RUN}CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED{AT}",
            "CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED",
            "pip install --upgrade nvidia-cublas",
        ),
        (
            f"Exception during initialization: {CALL}CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED{AT}",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
            "a smaller size",
        ),
        (
            f"{CALL}CUBLAS failure 1: CUBLAS_STATUS_NOT_INITIALIZED{AT}",
            "CUBLAS failure 1: CUBLAS_STATUS_NOT_INITIALIZED",
            "too little free memory",
        ),
        (
            f"[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was encountered{AT}",
            "CUDA failure 700: an illegal memory access was encountered",
            "start it again",
        ),
        (f"{CALL}CUDA failure 719: unspecified launch failure{AT}", "CUDA failure 719", "start it again"),
        (
            f"{CALL}CUDA failure 901: operation failed due to a previous error during capture{AT}",
            "CUDA failure 901: operation failed due to a previous error during capture",
            "enable_cuda_graph=0",
        ),
        (
            f"{RUN}/onnxruntime_src/onnxruntime/contrib_ops/cuda/bert/cudnn_fmha/cudnn_flash_attention.cc:385 std::"
            "shared_ptr<cudnn_frontend::graph::Graph> onnxruntime::cudnn_sdpa::build_graph(GraphParams&) "
            'Failed to build cuDNN graph for Flash Attention:{"context":{"compute_data_type":"FLOAT"}}',
            "Failed to build cuDNN graph for Flash Attention",
            "sdpa_kernel=1",
        ),
        (
            "libcuda.so.1: cannot open shared object file: No such file or directory",
            "libcuda.so.1: cannot open shared object file",
            "install the NVIDIA driver, 580 or later",
        ),
        (
            "libcublasLt.so.13: cannot open shared object file: No such file or directory",
            "libcublasLt.so.13: cannot open shared object file",
            "pip install nvidia-cublas, or 'triptych[cuda]'",
        ),
        (
            "Failed to load cublas64_13.dll: Could not find module 'cublas64_13.dll' (or one of its dependencies). Try "
            "using the full path with constructor syntax.",
            "Could not find module 'cublas64_13.dll'",
            "pip install nvidia-cublas, or 'triptych[cuda]'",
        ),
        (
            "libnvinfer.so.10: cannot open shared object file: No such file or directory",
            "libnvinfer.so.10: cannot open shared object file",
            "pip install 'tensorrt-cu13==10.*'",
        ),
    ],
)
def test_failures_of_a_device_give_the_cause_and_what_helps(message: str, cause: str, remedy: str) -> None:
    error = run_error(RuntimeError(message), "unet", {"sample": [2, 4, 64, 64]})
    assert isinstance(error, ProviderError)
    line = str(error)
    assert line.startswith(f"unet failed on its device: {cause}")
    assert remedy in line.removeprefix(f"unet failed on its device: {cause}")
    assert "\n" not in line
    assert "host" not in line
    assert "onnxruntime_src" not in line


def test_other_failures_of_cuda_are_those_of_the_device_too() -> None:
    failure = device_failure(f"{CALL}CUDA failure 801: operation not supported{AT}")
    assert failure == "CUDA failure 801: operation not supported"


def test_errors_of_triptych_stay_as_they_are() -> None:
    error = ProviderError("cuda:0 belongs to the process that was forked")
    assert run_error(error, "unet", {"sample": (1,)}) is error


def test_failures_during_other_work_on_a_device_are_told_apart_too() -> None:
    with (
        pytest.raises(ProviderError, match="copying failed: CUDA failure 2: out of memory; a"),
        device_errors("copying"),
    ):
        raise RuntimeError(f"{CALL}CUDA failure 2: out of memory{AT}")
    with pytest.raises(ValueError, match="of another kind"), device_errors("copying"):
        raise ValueError("of another kind")
    with pytest.raises(ArgumentError, match="CUDA failure 2: out of memory"), device_errors("copying"):
        raise ArgumentError("CUDA failure 2: out of memory")


def test_a_copy_to_a_device_without_memory_is_an_error_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError(f"{ARENA}Failed to allocate memory for requested buffer of size 4096\n")

    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_numpy", refuse)
    with pytest.raises(ProviderError, match="copying to the device failed: Failed to allocate memory"):
        Buffer(np.zeros((2, 4)), Memory("cuda", 0))


def test_a_fault_of_a_launched_run_is_an_error_of_the_device_when_it_is_waited_for() -> None:
    """A kernel's fault is met by whatever waits for the device next."""

    def fail() -> None:
        raise RuntimeError(
            f"Error when synchronizing bound outputs: CUDA failure 700: an illegal memory access was encountered{AT}"
        )

    with pytest.raises(ProviderError, match=r"a run on the device failed: CUDA failure 700: .*; the device is lost"):
        synchronize(SimpleNamespace(synchronize_outputs=fail))
    with pytest.raises(ProviderError, match="copying from the device failed: CUDA failure 700"):
        to_host(SimpleNamespace(numpy=fail))


@pytest.mark.parametrize(
    "message",
    [
        "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: sample for the following "
        "indices\n index: 1 Got: 3 Expected: 4\n Please fix either the inputs/outputs or the model.",
        f"{RUN}The input tensor cannot be reshaped to the requested shape. Input shape:{{6}}, requested shape:{{1,4}}",
    ],
)
def test_other_errors_of_a_run_are_about_its_shapes(message: str) -> None:
    error = run_error(RuntimeError(message), "unet", {"sample": (1, 3, 64, 64), "timestep": (1,)})
    assert type(error) is ArgumentError
    assert str(error) == f"unet cannot run with sample [1, 3, 64, 64], timestep [1]: {message.splitlines()[0]}"


@pytest.mark.parametrize(
    ("cuda", "library", "wheel", "driver"),
    [
        ("13.0", "cublas", "nvidia-cublas", "580"),
        ("13.0", "cudnn", "nvidia-cudnn-cu13", "580"),
        ("12.8", "cublaslt", "nvidia-cublas-cu12", "525"),
        ("12.8", "cudnn", "nvidia-cudnn-cu12", "525"),
    ],
)
def test_wheels_and_drivers_are_those_of_the_cuda_that_onnxruntime_was_built_for(
    cuda: str, library: str, wheel: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "cuda_version", cuda)
    assert nvidia.wheel(library) == wheel
    assert nvidia.needed_driver() == driver
    assert f"built for CUDA {cuda}" in nvidia.built_for()


def test_a_machine_without_a_driver_says_so() -> None:
    if any(Path(folder, nvidia.DRIVER).exists() for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64")):
        pytest.skip("this machine has a driver")
    assert nvidia.installed_driver() == f"none is installed ({nvidia.DRIVER} cannot be loaded)"


@pytest.mark.parametrize("file", ["libcudnn.so.9", "libcudnn.so", "cudnn64_9.dll"])
def test_a_library_is_known_by_each_of_its_names(file: str) -> None:
    remedy = nvidia.remedy_for_library(file)
    assert remedy is not None
    assert "pip install nvidia-cudnn-cu13" in remedy
    assert nvidia.remedy_for_library("libssl.so.3") is None
