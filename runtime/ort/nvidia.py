"""NVIDIA's driver and libraries: what the installed ONNX Runtime needs of them, and the wheels that have them."""

import ctypes
import re
import sys

from .library import ort, why_not_imported

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

_OLDEST_DRIVER = {"11": "450", "12": "525", "13": "580"}
"""CUDA's major version -> driver, see https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"""

_WHEELS = {
    "cublas": "nvidia-cublas",
    "cublaslt": "nvidia-cublas",
    "cudart": "nvidia-cuda-runtime",
    "cufft": "nvidia-cufft",
    "curand": "nvidia-curand",
    "nvrtc": "nvidia-cuda-nvrtc",
    "cudnn": "nvidia-cudnn",
}
"""Library -> the wheel that has it, without the suffix for a version of CUDA."""


def cuda_version() -> str | None:
    """Version of CUDA that the installed ONNX Runtime was built for; None if it, or its CUDA, is missing."""
    return None if why_not_imported() else getattr(ort, "cuda_version", "") or None


def built_for() -> str:
    """The installed ONNX Runtime, with the CUDA that it was built for."""
    return f"ONNX Runtime {ort.__version__}, built for CUDA {cuda_version()},"


def needed_driver() -> str:
    """Version of the oldest driver that runs the CUDA that ONNX Runtime was built for."""
    return _OLDEST_DRIVER.get(_major(), "of its release notes")


def installed_driver() -> str:
    """The newest CUDA that the installed driver runs, as a clause of a sentence."""
    version = ctypes.c_int()
    try:
        status = ctypes.CDLL(DRIVER).cuDriverGetVersion(ctypes.byref(version))
    except OSError:
        return f"none is installed ({DRIVER} cannot be loaded)"
    if status or not version.value:
        return "the installed one does not state its version"
    return f"the installed one runs CUDA {version.value // 1000}.{version.value % 1000 // 10} at most"


def wheel(library: str) -> str:
    """Name of the wheel with a library of CUDA: as of CUDA 13, only that of cuDNN has a suffix."""
    name = _WHEELS[library]
    return name if library != "cudnn" and int(_major()) >= 13 else f"{name}-cu{_major()}"


def remedy_for_library(file: str) -> str | None:
    """Advice for a library that cannot be loaded; None for one that is unknown.

    Args:
        file: its name, such as libcublas.so.13 or cudnn64_9.dll.
    """
    stem = re.sub(r"^lib|(64)?(_\d+)*\.dll$|\.so[.\d]*$", "", file).lower()
    if file == DRIVER:
        return f"install the NVIDIA driver, {needed_driver()} or later; a container has it if started with --gpus all"
    if stem in ("nvinfer", "nvonnxparser"):
        return f"pip install 'tensorrt-cu{_major()}=={file.rpartition('.')[2]}.*'"
    if stem in _WHEELS:
        return f"{built_for()} needs it: pip install {wheel(stem)}, or 'triptych[cuda]' for all libraries"
    return None


def _major() -> str:
    return (cuda_version() or "13").partition(".")[0]
