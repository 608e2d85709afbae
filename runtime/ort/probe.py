"""Whether a provider can run a graph on this machine, and if not, the reason.

A session is opened with the provider and runs a small graph: what ONNX Runtime says of itself is not enough. It lists
CUDA without a driver, continues on the CPU where a library is missing, and opens cuDNN for the first convolution only.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import first_line, nearest
from .failures import device_failure
from .graph_writer import GraphWriter
from .library import ort, why_not_imported
from .providers import CUDA, EXTRA_OF, TENSORRT

if TYPE_CHECKING:
    from importlib.metadata import Distribution

WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")

_FATAL = 4  # severity of ONNX Runtime's log
_SIZE = 4  # of the probe's image


def why_not(provider: str, options: Mapping[str, Any] | None = None) -> str | None:
    """Why `provider` cannot run a graph here, in one line with what helps, or None if it can.

    Args:
        provider: its name in ONNX Runtime.
        options: of the provider.
    """
    if reason := why_not_imported():
        return reason
    preloaded = _preload_cuda() if provider in (CUDA, TENSORRT) else ""
    if provider not in ort.get_available_providers():
        extra = EXTRA_OF.get(provider)
        have = ", ".join(ort.get_available_providers())
        advice = f"; install triptych[{extra}] in place of the other ONNX Runtime wheels" if extra else ""
        return f"ONNX Runtime {ort.__version__} as installed has no {provider} (it has {have}){advice}"
    requested = dict(options or {})
    try:
        session = _session(provider, requested)
        if session.get_providers()[0] != provider:
            return _library_error(provider, preloaded) or f"{provider} refused the session and gave no reason"
        session.run(None, {"x": np.ones((1, 1, _SIZE, _SIZE), np.float32)})
    except Exception as error:  # ONNX Runtime raises its own classes and RuntimeError alike
        return (
            device_failure(error)
            or _option_error(str(error), provider, requested)
            or _library_error(provider, preloaded)
            or first_line(error)
        )
    return None


@cache
def option_names(provider: str, device_id: str | None = None) -> tuple[str, ...]:
    """Names of the options that the installed provider has; () where it cannot be opened.

    It is opened on the device of that id, for providers with devices, so that no other one is touched.
    """
    options = {} if device_id is None else {"device_id": device_id}
    try:
        return tuple(_session(provider, options).get_provider_options()[provider])
    except Exception:  # of any class: the provider may have more than one fault
        return ()


def available_providers() -> list[str]:
    """Names of the providers that the installed ONNX Runtime has; [] without one."""
    if why_not_imported():
        return []
    _preload_cuda()  # a CUDA provider that is a plug-in is registered only once its libraries are loaded
    return list(ort.get_available_providers())


def installed_wheels() -> dict[str, str]:
    """The ONNX Runtime wheels that are installed, with versions."""
    return {name: wheel.version for name, wheel in _distributions().items()}


def wheels_in_conflict() -> list[str]:
    """ONNX Runtime wheels that share a folder, where they overwrite each other's files; [] without a conflict."""
    folders: dict[Path, list[str]] = {}
    for name, wheel in _distributions().items():
        folders.setdefault(Path(str(wheel.locate_file("onnxruntime"))).resolve(), []).append(name)
    return next((names for names in folders.values() if len(names) > 1), [])


def _distributions() -> dict[str, Distribution]:
    from importlib.metadata import PackageNotFoundError, distribution  # slow to import, and seldom needed

    found = {}
    for name in WHEELS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = distribution(name)
    return found


def _session(provider: str, options: Mapping[str, Any]) -> ort.InferenceSession:
    """A session of the probe, on the CPU where the provider's library cannot be loaded."""
    quiet = ort.SessionOptions()
    quiet.log_severity_level = _FATAL  # the reason is part of the error instead
    # By default ONNX Runtime would print an error, and continue on the CPU
    return ort.InferenceSession(_probe(), quiet, providers=[(provider, dict(options))], enable_fallback=0)


def _probe() -> bytes:
    """A convolution, a matrix product and an addition: the kernels, and on CUDA the libraries, of a denoiser."""
    graph = GraphWriter("probe")
    dtype, shape = np.dtype(np.float32), [1, 1, _SIZE, _SIZE]
    x = graph.input("x", dtype, shape)
    filtered = graph.node("Conv", x, graph.constant(np.ones((1, 1, 3, 3), dtype)), pads=[1, 1, 1, 1])
    product = graph.node("MatMul", filtered, graph.constant(np.eye(_SIZE, dtype=dtype)))
    graph.output(graph.node("Add", product, x, name="y"), dtype, shape)
    return graph.to_bytes()


def _option_error(message: str, provider: str, options: Mapping[str, Any]) -> str | None:
    """The reason for an error of a provider's option, None for other errors."""
    if found := re.search(r'Unknown provider option: "([^"]*)"', message):
        return f"unknown provider option {found[1]!r}; {nearest(found[1], option_names(provider))}"
    if found := re.search(r"Invalid device ID: (\d+), must be between 0 \(inclusive\) and (\d+)", message):
        last = int(found[2]) - 1
        return f"there is no device {found[1]}; allowed: {f'0 to {last}' if last else '0'}"
    if found := re.search(r'Failed to parse provider option "([^"]*)"', message):
        return f"provider option {found[1]}={options.get(found[1])} has a value that ONNX Runtime cannot read"
    return None


def _library_error(provider: str, preloaded: str) -> str | None:
    """Why a library of the provider cannot be loaded, None if all can: ONNX Runtime writes it to its log only."""
    messages = [message for message in (preloaded, _loader_error(provider)) if message]
    failures = (device_failure(message) for message in messages)
    return next(filter(None, failures), None) or next(iter(messages), None)


@cache
def _preload_cuda() -> str:
    """Load CUDA and cuDNN from the nvidia wheels, if installed; returns ONNX Runtime's first line about it.

    A CUDA provider that is a plug-in is registered by this.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ort.preload_dlls()
    lines = [*printed.getvalue().splitlines(), *(str(warning.message) for warning in caught)]
    return next((line for line in lines if line.strip()), "")


def _loader_error(provider: str) -> str:
    """The dynamic loader's error for the provider's library, "" without one."""
    stem = provider.removesuffix("ExecutionProvider").lower()
    folder = Path(ort.__file__).parent / "capi"
    for part, mode in (("shared", ctypes.RTLD_GLOBAL), (stem, ctypes.RTLD_LOCAL)):
        for library in folder.glob(f"*onnxruntime_providers_{part}.*"):
            try:
                ctypes.CDLL(str(library), mode=mode)
            except OSError as error:
                return first_line(error)
    return ""
