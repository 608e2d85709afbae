"""The graphs of a package that are in memory."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .blocking import channels_block
from .device import PROVIDERS, Device
from .errors import NumericalError, ProviderError
from .families import family_of
from .package import Package
from .session import Graph

DECODER = "vae_decoder"
DIALECTS = ("cpu", "cuda")
"""Those whose operators run on the device of that name alone."""


class Components(Mapping[str, Graph]):
    """The named components of a package by name, each graph in a session of its own."""

    def __init__(self, package: Package, device: Device, names: Sequence[str]) -> None:
        # The decoder's working memory is as large as the network's, and is needed once a picture
        self.loaded = {name: load_graph(package, device, name, keep_memory=name != DECODER) for name in names}

    def __getitem__(self, name: str) -> Graph:
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.loaded)

    def __len__(self) -> int:
        return len(self.loaded)


def load_graph(package: Package, device: Device, name: str, *, keep_memory: bool = True) -> Graph:
    """A session for the named component; `keep_memory` as in `Graph`.

    Raises:
        ProviderError: its operators are those of another kind of device.
        PackageError: see `Graph`.
    """
    check_dialect(package, device)
    static = (package.manifest or {}).get("static") is not None
    return Graph(
        package.graph(name),
        device,
        name,
        keep_memory=keep_memory,
        optimised=package.is_optimised(name),
        capture=static and name == family_of(package).generator,
    )


def check_dialect(package: Package, device: Device) -> None:
    """Refuse a package whose operators the device has no kernels for.

    Raises:
        ProviderError: says which device, or which kind of CPU, it was exported for.
    """
    manifest = package.manifest or {}
    dialect, block = manifest.get("dialect", "portable"), manifest.get("channels_block")
    if dialect in DIALECTS and device.provider != PROVIDERS[dialect]:
        raise ProviderError(
            f"{package.path} was exported with the operators of {dialect}, and device {device.name!r} runs on "
            f"{device.provider}; load it with device={dialect}, or export it with --dialect portable"
        )
    if block is not None and block != channels_block():
        raise ProviderError(
            f"{package.path} was optimised for CPUs whose convolutions take channels in blocks of {block}, and this "
            f"one's take {channels_block()}; export it on such a machine as this one, or with --dialect portable"
        )


def check_finite(array: np.ndarray, component: str, where: str = "") -> None:
    """Refuse what a component gave if it is no number.

    Raises:
        NumericalError: it holds NaN or infinity; names the component, and `where` that was.
    """
    if not np.isfinite(array).all():
        raise NumericalError(
            f"{component} gave NaN or infinity{where}; export the checkpoint with --precision fp32 and try again"
        )
