"""Table of the peers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from triptych.runtime.errors import lookup
from triptych.runtime.package.package import open_package

from .environments import HERE


@dataclass(frozen=True)
class Peer:
    """A runtime in one configuration: which environment, which module of `adapters`, with which options.

    `exact` peers compute in fp32 throughout; the others trade precision for speed. `whole` peers generate whole images
    only: their components cannot be called. Peers with `prepares` first convert the weights to a file.
    """

    name: str
    environment: str
    adapter: str
    exact: bool
    about: str
    options: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False
    prepares: bool = False


PEERS = {
    peer.name: peer
    for peer in (
        Peer("diffusers", "diffusers", "diffusers", True, "PyTorch eager, fp32"),
        Peer("diffusers-channels-last", "diffusers", "diffusers", True, "fp32, channels last", {"channels_last": True}),
        Peer("diffusers-compile", "diffusers", "diffusers", True, "fp32, torch.compile", {"compiled": True}),
        Peer("diffusers-bf16", "diffusers", "diffusers", False, "PyTorch eager, bf16", {"dtype": "bfloat16"}),
        Peer(
            "diffusers-bf16-channels-last",
            "diffusers",
            "diffusers",
            False,
            "bf16, channels last",
            {"dtype": "bfloat16", "channels_last": True},
        ),
        Peer("optimum", "optimum", "optimum", True, "optimum-onnx on the same graphs, fp32"),
        Peer("onnxruntime", "onnxruntime", "onnxruntime", True, "ONNX Runtime on a plain export, fp32"),
        Peer("openvino", "openvino", "openvino", True, "OpenVINO, fp32, fixed shapes", {"precision": "fp32"}),
        Peer("openvino-bf16", "openvino", "openvino", False, "OpenVINO, bf16, fixed shapes", {"precision": "bf16"}),
        Peer(
            "openvino-int8",
            "openvino",
            "openvino",
            False,
            "OpenVINO, int8 by NNCF",
            {"precision": "int8"},
            prepares=True,
        ),
        Peer(
            "sd-cpp",
            "stable-diffusion-cpp",
            "stable_diffusion_cpp",
            False,
            "stable-diffusion.cpp, fp16 convolutions",
            whole=True,
            prepares=True,
        ),
    )
}

ON_GRAPHS = ("optimum", "onnxruntime", "openvino")
"""Adapters that run the graphs of a package; the others read the checkpoint."""


def peers_named(names: Sequence[str]) -> list[Peer]:
    """The peers of those names.

    Raises:
        ArgumentError: there is no peer of a name.
    """
    return [lookup(PEERS, name, "peer") for name in names]


def own(name: str, package: str, device: str = "cpu", precision: str | None = None) -> Peer:
    """Triptych with a package, in this environment; on the device openvino in the environment that has it."""
    environment = "onnxruntime-openvino" if device == "openvino" else HERE
    stored = open_package(package).manifest.precision or "fp32"
    exact = stored == "fp32" and precision in (None, "fp32")
    options = {"package": package, "device": device, "precision": precision}
    return Peer(name, environment, "own", exact, f"Triptych, {package}", options)
