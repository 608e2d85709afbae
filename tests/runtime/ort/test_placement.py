"""Placement of nodes, as ONNX Runtime records it."""

from pathlib import Path

import pytest

from triptych.runtime.errors import ProviderError
from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.library import ort
from triptych.runtime.ort.placement import Placement, placement_of, recording
from triptych.runtime.ort.session import Graph


def test_nodes_of_a_graph_on_the_cpu(package: Path) -> None:
    device = recording(open_device("cpu", session_options={"graph_optimization_level": 0}))
    placement = placement_of(Graph(package / "vae_decoder" / "model.onnx", device, "vae_decoder"))
    assert placement.requested == "CPUExecutionProvider"
    assert placement.counts.keys() == {"CPUExecutionProvider"}
    assert placement.counts["CPUExecutionProvider"] > 0
    assert placement.elsewhere == {}


def test_operators_on_other_providers_are_listed() -> None:
    nodes = {"CPUExecutionProvider": {"ArgMax": 1, "Cast": 2}, "CUDAExecutionProvider": {"com.microsoft::BiasAdd": 3}}
    placement = Placement("CUDAExecutionProvider", nodes)
    assert list(placement.counts.items()) == [("CUDAExecutionProvider", 3), ("CPUExecutionProvider", 3)]
    assert placement.elsewhere == {"ArgMax": 1, "Cast": 2}
    nothing = Placement("CUDAExecutionProvider", {"CPUExecutionProvider": {"Add": 1}})
    assert nothing.counts == {"CUDAExecutionProvider": 0, "CPUExecutionProvider": 1}


def test_versions_that_record_nothing_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    device = open_device("cpu")
    monkeypatch.setattr(ort, "InferenceSession", object)
    with pytest.raises(
        ProviderError, match=r"^ONNX Runtime \S+ does not report where nodes run; needed: 1\.24 or newer$"
    ):
        recording(device)
