"""Failures of a device: the cause in its libraries' words, and what helps.

ONNX Runtime has no class of exception for them: their messages are read, in the forms of its CUDA provider
(core/providers/cuda: cuda_call.cc, cudnn_fe_call.cc, cuda_common.h, cuda_kernel.h) and arena (core/framework/
bfc_arena.cc), as "CUDA failure 2: out of memory ; GPU=0 ; hostname=... ; file=... ; line=... ; expr=cudaMalloc(...)";
numbers are those of CUDA's cudaError_t.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..errors import ArgumentError, ProviderError, TriptychError, first_line
from .nvidia import built_for, installed_driver, needed_driver, remedy_for_library, wheel

_CALL = re.compile(r"[A-Z_]+ failure -?\d+: [^;]*?(?= ;|$)|CUDA error \w+:.*")
_CUDNN = re.compile(r"cuDNN is unavailable.*")
_LIBRARY = re.compile(r"[\w.+-]*\.so[.\d]*: cannot open shared object file.*|Could not find module '[^']+'")
_ARENA = re.compile(r"Failed to allocate memory for requested buffer of size \d+|Available memory of \d+ is smaller.*")
_HOST_MEMORY = re.compile(r"std::bad_alloc")
_ATTENTION = re.compile(r"Failed to build cuDNN graph for [\w ]+")
_CAUSES = (_CUDNN, _ATTENTION, _CALL, _ARENA, _LIBRARY, _HOST_MEMORY)


def device_failure(error: BaseException | str) -> str | None:
    """One line with the cause and what helps, where an error is a failure of the device or its libraries; else None.

    Args:
        error: an exception of ONNX Runtime or the dynamic loader, or its message.
    """
    message = " ".join(str(error).split())
    for pattern in _CAUSES:
        if found := pattern.search(message):
            cause = found[0].strip()
            return f"{cause}; {remedy}" if (remedy := _remedy(cause)) else cause
    return None


def run_error(error: BaseException, graph: str, shapes: Mapping[str, Sequence[int]]) -> TriptychError:
    """Error of a graph's run, to be raised in place of ONNX Runtime's.

    Args:
        error: the exception of the run.
        graph: its name, for the message.
        shapes: input -> shape.

    Returns:
        ProviderError where the device failed; otherwise ArgumentError: the graph cannot be run with these shapes. An
        error of Triptych stays as it is.
    """
    if isinstance(error, TriptychError):
        return error
    if failure := device_failure(error):
        return ProviderError(f"{graph} failed on its device: {failure}")
    sizes = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
    return ArgumentError(f"{graph} cannot run with {sizes}: {first_line(error)}")


@contextmanager
def device_errors(work: str) -> Iterator[None]:
    """Raise failures of the device as ProviderError, and other errors as they are.

    Args:
        work: noun phrase for the message, such as "copying to the device".
    """
    try:
        yield
    except TriptychError:
        raise
    except Exception as error:  # ONNX Runtime raises its own classes and RuntimeError alike
        if failure := device_failure(error):
            raise ProviderError(f"{work} failed: {failure}") from None
        raise


def _remedy(cause: str) -> str | None:
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, cause):
            return remedy if isinstance(remedy, str) else remedy(cause)
    return None


def _driver(_: str) -> str:
    return f"{built_for()} needs the NVIDIA driver {needed_driver()} or later; {installed_driver()}"


def _card(_: str) -> str:
    return (
        f"{built_for()} has no kernels for this card; one of a compute capability below 7.5 needs an onnxruntime-gpu "
        "built for CUDA 12"
    )


def _cudnn(_: str) -> str:
    return f"pip install --upgrade {wheel('cudnn')}; `triptych doctor` lists the libraries that are found"


def _cublas(_: str) -> str:
    return f"pip install --upgrade {wheel('cublas')}; `triptych doctor` lists the libraries that are found"


def _library(cause: str) -> str | None:
    found = re.search(r"[\w-]+\.(?:so[.\d]*|dll)", cause)
    return remedy_for_library(found[0]) if found else None


_REMEDIES: tuple[tuple[str, str | Callable[[str], str | None]], ...] = (
    (r"cuDNN is unavailable|cannot open shared object file|Could not find module", _library),
    (r"Available memory of", "the provider option gpu_mem_limit is too small"),
    (
        r"out of memory|Failed to allocate|bad_alloc|ALLOC_FAILED",
        "a smaller size, fewer images at once or a package of --precision fp16 need less; nvidia-smi shows what else "
        "uses memory",
    ),
    (r"failure 3[45]:|driver version is insufficient", _driver),
    (
        r"failure 80[34]:",
        "the driver's library and kernel module differ: restart after an update, and remove a cuda-compat package",
    ),
    (
        r"failure 100:|no CUDA-capable device",
        "see nvidia-smi and the variable CUDA_VISIBLE_DEVICES; a container has GPUs if it was started with --gpus all",
    ),
    (r"failure 101:|invalid device ordinal", "see nvidia-smi and the variable CUDA_VISIBLE_DEVICES"),
    (r"failure 46:|busy or unavailable", "another process holds the device, or it was lost: see nvidia-smi"),
    (r"no kernel image|failure (200|209|222|223):|ARCH_MISMATCH", _card),
    (r"failure 9\d\d:.*captur", "--provider-option enable_cuda_graph=0 runs without captured graphs"),
    (
        r"CUDA failure (214|7\d\d|999):|illegal memory access|launch failure|ECC error",
        "the device is lost to this process: start it again; if it recurs, dmesg has the reason (Xid)",
    ),
    (r"^Failed to build cuDNN graph", "--provider-option sdpa_kernel=1 uses ONNX Runtime's own attention"),
    (r"CUBLAS failure 1:", "most often too little free memory: see nvidia-smi"),
    (r"^CUDNN", _cudnn),
    (r"^CUBLAS", _cublas),
)
"""Patterns of a cause, the first that fits counts, with what helps: a text, or a function of the cause."""
