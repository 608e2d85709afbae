"""Placement of a graph's nodes on providers, as ONNX Runtime records it when it creates a session.

A provider takes the nodes that it has kernels for; the others run on the CPU, with copies in between, and no warning.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..errors import ProviderError
from .device import Device
from .library import ort
from .session import Graph

_SETTINGS = {"session.record_ep_graph_assignment_info": "1", "session.disable_cpu_ep_fallback": "0"}


@dataclass(frozen=True)
class Placement:
    """Nodes of a graph by the provider that runs them.

    Attributes:
        requested: the provider of the device.
        nodes: provider -> operator -> number of nodes. Operators of other domains than ONNX's have theirs in front:
            "com.microsoft::BiasAdd".
    """

    requested: str
    nodes: Mapping[str, Mapping[str, int]]

    @property
    def counts(self) -> dict[str, int]:
        """Provider -> number of nodes, the requested provider first."""
        found = {provider: sum(operators.values()) for provider, operators in self.nodes.items()}
        return {self.requested: 0} | found

    @property
    def elsewhere(self) -> dict[str, int]:
        """Operator -> number of nodes that are not on the requested provider."""
        found: Counter[str] = Counter()
        for provider, operators in self.nodes.items():
            if provider != self.requested:
                found.update(operators)
        return dict(sorted(found.items()))


def recording(device: Device) -> Device:
    """The device with sessions that record their placement, and that open with nodes on the CPU, so as to show them.

    Raises:
        ProviderError: this version of ONNX Runtime records none.
    """
    if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        raise ProviderError(f"ONNX Runtime {ort.__version__} does not report where nodes run; needed: 1.24 or newer")
    return replace(device, session_options={**device.session_options, **_SETTINGS})


def placement_of(*graphs: Graph) -> Placement:
    """Placement of the graphs of a component, which were loaded on a device that is `recording`."""
    device = graphs[0].device
    return Placement(device.provider, device.call(_assignment, graphs))


def _assignment(graphs: Iterable[Graph]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for part in (part for graph in graphs for part in graph.session.get_provider_graph_assignment_info()):
        nodes = (f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in part.get_nodes())
        found.setdefault(part.ep_name, Counter()).update(nodes)
    return {provider: dict(sorted(operators.items())) for provider, operators in found.items()}
