"""Whether a provider can run a graph on this machine, and if not, the reason.

A session is opened with the provider and runs a small graph: what ONNX Runtime says of itself is not enough.
"""

import contextlib
import ctypes
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import first_line
from .graph_writer import GraphWriter
from .library import ort
from .providers import CUDA, EXTRA_OF, TENSORRT

WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")

_FATAL = 4  # severity of ONNX Runtime's log


def why_not(provider: str, options: Mapping[str, Any] | None = None) -> str | None:
    """Why `provider` cannot run a graph here, in one line, or None if it can."""
    if provider not in ort.get_available_providers():
        extra = EXTRA_OF.get(provider)
        have = ", ".join(ort.get_available_providers())
        advice = f"; install triptych[{extra}] in place of the other ONNX Runtime wheels" if extra else ""
        return f"ONNX Runtime {ort.__version__} as installed has no {provider} (it has {have}){advice}"
    preloaded = _preload_cuda() if provider in (CUDA, TENSORRT) else ""
    quiet = ort.SessionOptions()
    quiet.log_severity_level = _FATAL  # the reason is part of the error instead
    try:
        session = ort.InferenceSession(_probe(), quiet, providers=[(provider, dict(options or {}))])
        session.run(None, {"x": np.ones(1, np.float32)})
    except Exception as error:  # ONNX Runtime raises its own classes and RuntimeError alike
        return first_line(error)
    if session.get_providers()[0] == provider:
        return None
    return _library_error(provider) or preloaded or f"{provider} refused the session and gave no reason"


def available_providers() -> list[str]:
    """Names of the providers that the installed ONNX Runtime was built with."""
    return list(ort.get_available_providers())


def cuda_version() -> str | None:
    """Version of CUDA that the installed ONNX Runtime was built for; None where it was built for none."""
    return getattr(ort, "cuda_version", "") or None


def installed_wheels() -> dict[str, str]:
    """The ONNX Runtime wheels that are installed, with versions; more than one is a conflict."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and seldom needed

    found = {}
    for name in WHEELS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _probe() -> bytes:
    """y = x + x for one float: the smallest graph that shows that a provider runs."""
    graph = GraphWriter("probe")
    x = graph.input("x", np.dtype(np.float32), [1])
    graph.output(graph.node("Add", x, x, name="y"), np.dtype(np.float32), [1])
    return graph.to_bytes()


def _preload_cuda() -> str:
    """Load CUDA and cuDNN from the nvidia wheels, if installed; returns the first line that ONNX Runtime prints."""
    printed = io.StringIO()
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(printed):
            ort.preload_dlls()
    return printed.getvalue().strip().partition("\n")[0]


def _library_error(provider: str) -> str | None:
    """The dynamic loader's error for the provider's library: the usual reason for a refused session."""
    stem = provider.removesuffix("ExecutionProvider").lower()
    folder = Path(ort.__file__).parent / "capi"
    for library in folder.glob(f"*onnxruntime_providers_{stem}.*"):
        try:
            ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
            ctypes.CDLL(str(library))
        except OSError as error:
            return first_line(error)
    return None
