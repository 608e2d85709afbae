"""Options of CUDA: one stream for every session, runs that do not wait, and captured graphs.

The reason for each option; benchmarks/gpu/README.md lists measurements to be made:

- `user_compute_stream`: sessions have a stream each, and work of two streams is not in order unless the host waits in
  between. All sessions here share one, so that bound runs follow each other on the device. It is a blocking stream,
  with which copies by `OrtValue` (on CUDA's default stream) keep order by themselves.
- `disable_synchronize_execution_providers`: a run is launched, not waited for. A captured graph's replay waits all the
  same in an ONNX Runtime without its pull request 28686 (2026): once a step, after which the step graph is launched.
- `enable_cuda_graph`: for bound graphs of fixed shapes. The first run for a `gpu_graph_id` captures, later ones replay;
  inputs and outputs must be at the same addresses each time, so that every set of buffers has an id of its own. Runs
  that are not bound have the id -1, which neither captures nor replays. Sessions without the option ignore the id.
- `enable_skip_layer_norm_strict_mode`: sums of a SkipLayerNormalization in float32. In float16, ONNX Runtime's own
  choice, a U-Net's tokens lose 20 dB.
- `use_tf32`: off for the step graph, whose products would lose 13 of 23 bits of the latents.
"""

import ctypes
from collections.abc import Mapping
from functools import cache
from itertools import count
from typing import Any

from ..errors import ProviderError
from .library import ort
from .nvidia import DRIVER

_BLOCKING = 0  # CU_STREAM_DEFAULT
_NEVER = "-1"
_ids = count(1)


def provider_options(requested: Mapping[str, Any], *, capture: bool) -> dict[str, Any]:
    """The provider's options for one session.

    Args:
        requested: options of the caller, which take precedence.
        capture: the session runs a bound graph of fixed shapes.
    """
    stream = requested.get("user_compute_stream")
    if stream is None:
        stream = _stream(int(requested.get("device_id", 0)))
    graph = requested.get("enable_cuda_graph", "1") if capture else "0"
    exact = {"enable_skip_layer_norm_strict_mode": "1"}
    return {**exact, **requested, "user_compute_stream": str(stream), "enable_cuda_graph": str(graph)}


def run_options(*, bound: bool) -> ort.RunOptions:
    """Options of a run, or of all runs of one set of buffers, `bound` at the same addresses each time."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(next(_ids)) if bound else _NEVER)
    if bound:
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


@cache
def _stream(index: int) -> int:
    """The address of this process's stream on a device; it lives as long as the process.

    Through the driver's library, which has one name everywhere and shares its context with the runtime library that
    ONNX Runtime has loaded, whichever version that is.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError as error:
        raise ProviderError(f"CUDA's driver cannot be loaded: {error}") from None
    device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
    calls = (
        ("cuInit", 0),
        ("cuDeviceGet", ctypes.byref(device), index),
        ("cuDevicePrimaryCtxRetain", ctypes.byref(context), device),
        ("cuCtxPushCurrent_v2", context),
        ("cuStreamCreate", ctypes.byref(stream), _BLOCKING),
        ("cuCtxPopCurrent_v2", ctypes.byref(context)),
    )
    for name, *arguments in calls:
        status = getattr(driver, name)(*arguments)
        if status:
            raise ProviderError(f"no CUDA stream on device {index}: {name} gave error {status}")
    return int(stream.value or 0)
