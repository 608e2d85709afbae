"""Layout of ONNX Runtime's convolutions on this CPU: channels in blocks as wide as its registers."""

import base64
from functools import cache

import numpy as np

from .library import ort

# y = x [1, 16, 1, 2] with its channels in blocks: the optimiser's own operator, on the smallest tensor
_PROBE = base64.b64decode(
    "CAg6bAo/CgF4EgF5IgxSZW9yZGVySW5wdXQqFAoNY2hhbm5lbHNfbGFzdBgAoAECOhNjb20ubWljcm9zb2Z0Lm5jaHdjEgFnWhsKAXgSFgoUCAESEAoCCAEKAggQCgIIAQoCCAJiCQoBeRIECgIIAUIECgAQFEIXChNjb20ubWljcm9zb2Z0Lm5jaHdjEAE="
)


@cache
def channels_block() -> int:
    """Number of channels in a block: 16 with AVX-512, 8 with AVX2, 1 where convolutions are not blocked."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    pixels = np.arange(32, dtype=np.float32).reshape(1, 16, 1, 2)
    try:
        session = ort.InferenceSession(_PROBE, options, providers=["CPUExecutionProvider"])
        (blocked,) = session.run(None, {"x": pixels})
    except Exception:  # ONNX Runtime raises its own classes and RuntimeError alike
        return 1
    return int(np.flatnonzero(blocked == 1)[0])  # the second pixel of the first channel comes after one block
