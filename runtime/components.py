"""The graphs of a package that are in memory."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .device import Device
from .errors import NumericalError
from .package import Package
from .session import Graph

DECODER = "vae_decoder"


class Components(Mapping[str, Graph]):
    """The named components of a package by name, each graph in a session of its own."""

    def __init__(self, package: Package, device: Device, names: Sequence[str]) -> None:
        # The decoder's working memory is as large as the network's, and is needed once a picture
        self.loaded = {name: Graph(package.graph(name), device, name, keep_memory=name != DECODER) for name in names}

    def __getitem__(self, name: str) -> Graph:
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.loaded)

    def __len__(self) -> int:
        return len(self.loaded)


def check_finite(array: np.ndarray, component: str, where: str = "") -> None:
    """Refuse what a component gave if it is no number.

    Raises:
        NumericalError: it holds NaN or infinity; names the component, and `where` that was.
    """
    if not np.isfinite(array).all():
        raise NumericalError(
            f"{component} gave NaN or infinity{where}; export the checkpoint with --precision fp32 and try again"
        )
