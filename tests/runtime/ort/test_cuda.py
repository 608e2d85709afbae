"""Provider options of CUDA follow from facts about a graph, and the caller's go first."""

from typing import Any

import pytest

from triptych.runtime.ort import cuda
from triptych.runtime.ort.cuda import PLAIN, Traits, provider_options, without_failure

STREAM = {"user_compute_stream": "4096"}


@pytest.fixture(autouse=True)
def options_of_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed version has no strict mode."""
    monkeypatch.setattr(cuda, "option_names", lambda provider, device_id: ("use_tf32", "sdpa_kernel"))


def options(traits: Traits, **requested: str) -> dict[str, Any]:
    found = provider_options({**STREAM, **requested}, traits)
    assert found.pop("user_compute_stream") == "4096"
    return found


@pytest.mark.parametrize(
    ("traits", "expected"),
    [
        (PLAIN, {"enable_cuda_graph": "0"}),
        (Traits(capture=True), {"enable_cuda_graph": "1"}),
        (Traits(exact=True), {"enable_cuda_graph": "0", "use_tf32": "0"}),
        (Traits(channels_last=True), {"enable_cuda_graph": "0", "fuse_conv_bias": "1"}),
        (Traits(flash=True), {"enable_cuda_graph": "0", "sdpa_kernel": "1"}),
    ],
)
def test_options_follow_from_traits(traits: Traits, expected: dict[str, str]) -> None:
    assert options(traits) == expected


def test_the_callers_options_go_first() -> None:
    traits = Traits(capture=True, exact=True, channels_last=True)
    requested = {"enable_cuda_graph": "0", "use_tf32": "1", "fuse_conv_bias": "0", "gpu_mem_limit": "1"}
    assert options(traits, **requested) == requested


def test_a_graph_that_cannot_be_captured_is_not_whatever_was_requested() -> None:
    assert options(PLAIN, enable_cuda_graph="1")["enable_cuda_graph"] == "0"


def test_strict_sums_are_requested_where_the_option_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuda.STRICT_SUMS not in options(PLAIN)
    monkeypatch.setattr(cuda, "option_names", lambda provider, device_id: (cuda.STRICT_SUMS,))
    assert options(PLAIN)[cuda.STRICT_SUMS] == "1"
    assert options(PLAIN, **{cuda.STRICT_SUMS: "0"})[cuda.STRICT_SUMS] == "0"


ATTENTION = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running MultiHeadAttention node. "
    "cudnn_flash_attention.cc:385 Failed to build cuDNN graph for Flash Attention"
)
CAPTURE = "CUDA failure 901: operation failed due to a previous error during capture ; GPU=0"
REFUSED = "This session cannot use the graph capture feature as requested by the user as the model has control flow"
CONVOLUTION = "CUDNN_FE failure 8: GRAPH_NOT_SUPPORTED: no engine for the convolution"
MEMORY = "CUDA failure 2: out of memory ; GPU=0"
WHOLE = Traits(capture=True, whole=True)


@pytest.mark.parametrize(
    ("failure", "traits", "expected"),
    [
        (ATTENTION, WHOLE, Traits(capture=True, whole=True, flash=True)),
        (ATTENTION, PLAIN, Traits(flash=True)),
        (ATTENTION, Traits(flash=True), None),
        (CAPTURE, WHOLE, Traits(whole=True)),
        (REFUSED, WHOLE, Traits(whole=True)),
        (CAPTURE, PLAIN, None),
        (CONVOLUTION, WHOLE, None),
        (MEMORY, WHOLE, None),
    ],
)
def test_only_what_has_failed_is_left_out(failure: str, traits: Traits, expected: Traits | None) -> None:
    found = without_failure(traits, {}, failure)
    assert (None if found is None else found[0]) == expected


def test_a_kernel_that_was_requested_is_not_replaced() -> None:
    assert without_failure(WHOLE, {"sdpa_kernel": "8"}, ATTENTION) is None
    assert without_failure(WHOLE, {"enable_cuda_graph": "0"}, CAPTURE) is None
