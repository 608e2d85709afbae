"""Options of ONNX Runtime's OpenVINO provider.

The provider takes the precision to compute in as JSON text in its option `load_config`. A value there that OpenVINO
does not know is ignored silently, and a file's name in place of the text makes ONNX Runtime fall back to the CPU:
so the precision has a name here, `precision=bf16`, and other values are refused.
"""

import json
from collections.abc import Mapping
from typing import Any

from ..errors import ProviderError

_HINTS = {"fp32": "f32", "bf16": "bf16"}
_THEIRS = ("FP32", "FP16", "ACCURACY")  # the provider's own option of that name, for its GPU and NPU


def with_precision(options: Mapping[str, Any]) -> dict[str, Any]:
    """The provider's options with `precision` in the form that it takes; left out, it computes in fp32.

    Raises:
        ProviderError: another precision, or `load_config` as well.
    """
    requested = dict(options)
    precision = requested.get("precision")
    if precision is None or precision in _THEIRS:
        return requested
    if precision not in _HINTS:
        raise ProviderError(f"provider option precision={precision}; allowed for openvino: {', '.join(_HINTS)}")
    if "load_config" in requested:
        raise ProviderError("provider options precision and load_config both set the precision; give one of them")
    del requested["precision"]
    return {**requested, "load_config": json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": _HINTS[precision]}})}
