"""ONNX Runtime, imported without its telemetry when it is first used. All of Triptych has it from here.

Importing this module needs no ONNX Runtime: it belongs to the extras cpu, cuda and openvino, one of which is chosen at
installation.

As of 1.32 ONNX Runtime, when it is imported, writes an id of the machine below the home folder and opens an uploader;
it reads ORT_DISABLE_TELEMETRY at that moment and never again. If the caller has imported it before, its events are
turned off from here on. A value of ORT_DISABLE_TELEMETRY that the user has set is left to decide.

A wheel whose CUDA provider is a plug-in registers it when it is imported, and warns where CUDA's libraries are not
loaded yet: the probe loads them, and reports what is missing.
"""

import os
import threading
import warnings
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..environment import defaults
from ..errors import ProviderError, first_line

_OFF = "ORT_DISABLE_TELEMETRY"
_FATAL = 4  # severity of ONNX Runtime's log
_NOT_INSTALLED = "ONNX Runtime is not installed: pip install 'triptych[cpu]', or triptych[cuda] or triptych[openvino]"

_importing = threading.RLock()
_is_silent = threading.Event()


class _OnnxRuntime:
    """The module `onnxruntime`, which is imported when an attribute is first read."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_imported(), name)


if TYPE_CHECKING:
    import onnxruntime as ort
else:
    ort = _OnnxRuntime()

__all__ = ["check_installed", "ort", "silence_log", "why_not_imported"]


def why_not_imported() -> str | None:
    """Why ONNX Runtime cannot be imported, in one line with what helps, or None if it can."""
    try:
        _imported()
    except ProviderError as error:
        return str(error)
    return None


def check_installed() -> None:
    """Import ONNX Runtime, before work that ends with it.

    Raises:
        ProviderError: it is not installed, or one of its own libraries cannot be loaded.
    """
    _imported()


def silence_log() -> None:
    """Stop ONNX Runtime's messages about libraries that it cannot load, which no session's own level covers.

    Changes the process: for commands, whose errors and warnings give the reason in one line.
    """
    with _importing:
        _is_silent.set()
        if _imported.cache_info().currsize:
            ort.set_default_logger_severity(_FATAL)


@cache
def _imported() -> ModuleType:
    """Import ONNX Runtime.

    Raises:
        ProviderError: it is not installed, or one of its own libraries cannot be loaded.
    """
    with _importing:
        try:
            with defaults({_OFF: "1"}), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Failed to register bundled CUDA plugin EP")
                import onnxruntime
        except ModuleNotFoundError as error:
            if error.name != "onnxruntime":
                raise ProviderError(f"ONNX Runtime cannot be imported: {first_line(error)}") from error
            raise ProviderError(_NOT_INSTALLED) from None
        except ImportError as error:
            raise ProviderError(f"ONNX Runtime cannot be imported: {first_line(error)}") from error
        if getattr(onnxruntime, "__file__", None) is None:  # a folder that a wheel has left behind
            raise ProviderError(_NOT_INSTALLED)
        if _OFF not in os.environ:
            onnxruntime.disable_telemetry_events()
        if _is_silent.is_set():
            onnxruntime.set_default_logger_severity(_FATAL)
        module: ModuleType = onnxruntime
        return module
