"""Options of CUDA: one stream for every session, runs that do not wait, captured graphs, and exact float32.

The reason for each option; benchmarks/gpu/README.md lists measurements to be made:

- `user_compute_stream`: sessions have a stream each, and work of two streams is not in order unless the host waits in
  between. All sessions here share one, so that bound runs follow each other on the device. It is a blocking stream,
  with which copies by `OrtValue` (on CUDA's default stream) keep order by themselves.
- `disable_synchronize_execution_providers`: a run is launched, not waited for. A captured graph's replay waits all the
  same in an ONNX Runtime without its pull request 28686 (2026): once per step, after which the step graph is launched.
- `enable_cuda_graph`: for bound graphs of fixed shapes. The first run for a `gpu_graph_id` captures, later ones replay;
  inputs and outputs must be at the same addresses each time, so that every set of buffers has an id of its own. Runs
  that are not bound have the id -1, which neither captures nor replays. Sessions without the option ignore the id.
- `use_tf32`: off for graphs in float32, whose products and convolutions would lose 13 of 23 bits. It stays on with
  float16: turned off it would take tensor cores from all convolutions (core/providers/cuda/nn/conv.cc).
- `fuse_conv_bias`: the bias is added by cuDNN's own kernel, where all convolutions are channels last. For another one
  ONNX Runtime clears the output by a call that waits, which a capture forbids.
- `sdpa_kernel`: 1, flash attention, where cuDNN's attention cannot be built.
- `session.disable_cpu_ep_fallback`, of the session: a node that CUDA has no kernel for is an error for graphs in
  CUDA's operators, which have been exported so that there is none.
- `enable_skip_layer_norm_strict_mode`: sums of a SkipLayerNormalization in float32, where the option exists. Versions
  without it (its pull request 29388, 2026) always add in float32; in float16 a U-Net's tokens would lose 20 dB.

A step graph is not captured: its 16 launches are made while the denoiser's graph runs, which takes milliseconds.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Any

from ..errors import ProviderError
from .library import ort
from .nvidia import DRIVER
from .probe import option_names
from .providers import CUDA

STRICT_SUMS = "enable_skip_layer_norm_strict_mode"
FLASH = "1"  # onnxruntime::contrib::attention::AttentionBackend::FLASH_ATTENTION

_ATTENTION = re.compile("cudnn_flash_attention|Failed to build cuDNN graph")
_CAPTURE = re.compile(
    "graph capture|during capture|stream is captur"
)  # ONNX Runtime's words, and CUDA's errors 900 to 907
_BLOCKING = 0  # CU_STREAM_DEFAULT
_NEVER = "-1"
_ids = count(1)


@dataclass(frozen=True)
class Traits:
    """Facts about a graph that its session's options depend on.

    Attributes:
        capture: it has fixed shapes and is run bound.
        exact: it is in float32, and is to compute in it.
        channels_last: all of its convolutions are `NhwcConv`.
        whole: it is written in CUDA's operators, and no node may run elsewhere.
        flash: attention by flash attention alone, as cuDNN's has failed.
    """

    capture: bool = False
    exact: bool = False
    channels_last: bool = False
    whole: bool = False
    flash: bool = False


PLAIN = Traits()
STEP_GRAPH = Traits(exact=True)


def provider_options(requested: Mapping[str, Any], traits: Traits) -> dict[str, Any]:
    """The provider's options for the session of a graph; those of the caller take precedence."""
    stream = requested.get("user_compute_stream")
    if stream is None:
        stream = _stream(int(requested.get("device_id", 0)))
    options = {"use_tf32": "0"} if traits.exact else {}
    if traits.channels_last:
        options["fuse_conv_bias"] = "1"
    if STRICT_SUMS in option_names(CUDA, str(requested.get("device_id", 0))):
        options[STRICT_SUMS] = "1"
    forced = {"user_compute_stream": str(stream)}
    if traits.flash:
        forced["sdpa_kernel"] = FLASH
    if not traits.capture:
        forced["enable_cuda_graph"] = "0"
    return {**options, "enable_cuda_graph": "1", **requested, **forced}


def without_failure(traits: Traits, requested: Mapping[str, Any], failure: str) -> tuple[Traits, str] | None:
    """Traits without what has failed, and words for the warning; None where nothing can be left out.

    Args:
        traits: of the graph that failed, when it was opened or run.
        requested: provider options of the caller.
        failure: the error.
    """
    if _ATTENTION.search(failure) and not traits.flash and "sdpa_kernel" not in requested:
        return replace(traits, flash=True), "without cuDNN's attention"
    if _CAPTURE.search(failure) and traits.capture and str(requested.get("enable_cuda_graph", "1")) != "0":
        return replace(traits, capture=False), "without a CUDA graph"
    return None


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
