from pathlib import Path

import onnxruntime as ort
import pytest

from tests.support.graphs import write_adder
from triptych.runtime.errors import PerformanceWarning, ProviderError
from triptych.runtime.ort import device as device_module
from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.probe import why_not
from triptych.runtime.ort.providers import CPU, CUDA
from triptych.runtime.ort.session import Graph

needs_no_cuda = pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="says what happens without CUDA")


def test_the_cpu_works_and_says_so() -> None:
    assert why_not(CPU) is None
    assert open_device("cpu").provider == CPU
    assert open_device([CPU]).provider == CPU
    assert open_device([(CPU, {})]).provider == CPU


@needs_no_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "tensorrt", "openvino"])
def test_a_missing_provider_says_what_to_install(name: str) -> None:
    with pytest.raises(
        ProviderError, match=rf"device '{name}' cannot run here: .*has no .*install triptych\["
    ) as caught:
        open_device(name)
    assert "\n" not in str(caught.value)


@needs_no_cuda
def test_auto_without_cuda_is_the_cpu() -> None:
    assert open_device("auto").name == "cpu"


def test_auto_says_why_cuda_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    real = why_not
    monkeypatch.setattr(
        device_module, "why_not", lambda p, o=None: "libcudnn.so.9 is missing" if p == CUDA else real(p, o)
    )
    with pytest.warns(PerformanceWarning, match=r"CUDA is not used: libcudnn\.so\.9 is missing; running on the CPU"):
        assert open_device("auto").name == "cpu"
    with pytest.raises(ProviderError, match=r"libcudnn\.so\.9 is missing"):
        open_device("cuda")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("cdua", "cuda"), ("cpu:1", "cpu"), ("cuda:x", "cuda"), ("gpu", "allowed: auto"), ("", "allowed")],
)
def test_unknown_devices_offer_near_names(name: str, hint: str) -> None:
    with pytest.raises(ProviderError, match=f"unknown device '{name}'; .*{hint}"):
        open_device(name)


def test_unknown_providers_offer_near_names() -> None:
    with pytest.raises(ProviderError, match="did you mean CUDAExecutionProvider"):
        open_device(["CudaExecutionProvider"])
    with pytest.raises(ProviderError, match="empty"):
        open_device([])


def test_wheels_in_conflict_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "wheels_in_conflict", lambda: ["onnxruntime", "onnxruntime-gpu"])
    monkeypatch.setattr(device_module, "why_not", lambda *_: "no CUDAExecutionProvider")
    with pytest.raises(ProviderError, match="onnxruntime and onnxruntime-gpu are installed together"):
        open_device("cuda")


def test_options_reach_the_session(tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    settings = {"enable_profiling": True, "profile_file_prefix": str(profile), "session.disable_prepacking": "1"}
    device = open_device("cpu", session_options={**settings, "intra_op_num_threads": "1"})
    options = device.options()
    assert options.intra_op_num_threads == 1
    for text, value in (("0", False), ("False", False), ("1", True), ("true", True)):
        assert open_device("cpu", session_options={"enable_mem_pattern": text}).options().enable_mem_pattern is value
    assert options.get_session_config_entry("session.disable_prepacking") == "1"
    Graph(write_adder(tmp_path / "m.onnx"), device, "unet")
    assert list(tmp_path.glob("profile*.json"))


@pytest.mark.parametrize(("requested", "stops"), [({}, "1"), ({"session.force_spinning_stop": 0}, "0")])
def test_threads_stop_spinning_when_a_run_ends_unless_an_option_says_otherwise(
    requested: dict[str, int], stops: str
) -> None:
    """Spinning threads of one graph slow down the next graph."""
    options = open_device("cpu", session_options=requested).options()
    assert options.get_session_config_entry("session.force_spinning_stop") == stops


def test_unknown_or_unusable_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ProviderError, match="unknown session option 'intra_op_threads'; did you mean intra_op_num_threads"
    ):
        open_device("cpu", session_options={"intra_op_threads": 1}).options()
    with pytest.raises(ProviderError, match="session option enable_mem_pattern=perhaps"):
        open_device("cpu", session_options={"enable_mem_pattern": "perhaps"}).options()
    with pytest.raises(ProviderError, match="session option intra_op_num_threads=many"):
        open_device("cpu", session_options={"intra_op_num_threads": "many"}).options()
