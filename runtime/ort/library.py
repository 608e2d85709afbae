"""ONNX Runtime, imported without its telemetry. All of Triptych imports it from here.

As of 1.32 ONNX Runtime, when it is imported, writes an id of the machine below the home folder and opens an uploader;
it reads ORT_DISABLE_TELEMETRY at that moment and never again. Where the caller has imported it before, its events are
turned off from here on. A value of ORT_DISABLE_TELEMETRY that the user has set is left to decide.
"""

import os

from ..environment import defaults

_OFF = "ORT_DISABLE_TELEMETRY"

with defaults({_OFF: "1"}):
    import onnxruntime as ort

if _OFF not in os.environ:
    ort.disable_telemetry_events()

__all__ = ["ort"]
