"""ONNX Runtime, imported without its telemetry. All of Triptych imports it from here.

As of 1.32 ONNX Runtime, when it is imported, writes an id of the machine below the home folder and opens an uploader;
it reads ORT_DISABLE_TELEMETRY at that moment and never again. Where the caller has imported it before, its events are
turned off from here on. A value of ORT_DISABLE_TELEMETRY that the user has set is left to decide.

A wheel whose CUDA provider is a plug-in registers it when it is imported, and warns where CUDA's libraries are not
loaded yet: the probe loads them, and reports what is missing.
"""

import os
import warnings

from ..environment import defaults

_OFF = "ORT_DISABLE_TELEMETRY"

with defaults({_OFF: "1"}), warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Failed to register bundled CUDA plugin EP")
    import onnxruntime as ort

if _OFF not in os.environ:
    ort.disable_telemetry_events()

__all__ = ["ort"]
