"""Catalog of the served packages, by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

from ...errors import ArgumentError
from ...ort.device import open_device
from ...package.package import open_package, short_name
from ...pipeline import TextToImage
from ..errors import ServiceError, unavailable
from ..queue.pool import ModelState
from ..queue.ticket import Queue

Q_co = TypeVar("Q_co", bound=Queue, covariant=True)


class Catalog(Generic[Q_co]):
    """Packages by folder name, and the queue of each.

    Args:
        packages: their folders; the first is the default model.
        capacity: of each queue, in images.

    Attributes:
        packages: by name.
        planners: an opened package of each name, whose graphs are not loaded: to check and describe requests.
        capacity: see above.
        state: loading, ready or stopping.

    Raises:
        PackageError: a folder is not a package.
        ArgumentError: two folders have the same name.
    """

    def __init__(self, packages: Sequence[Path], capacity: int) -> None:
        self.packages = by_name(packages)
        self.capacity = capacity
        cpu = open_device("cpu")
        self.planners = {
            name: TextToImage(open_package(path), cpu, memory="low") for name, path in self.packages.items()
        }
        self._queues: dict[str, Q_co] = {}
        self.state = "loading"

    def state_of(self, name: str) -> ModelState:
        """State of a model; one that runs elsewhere counts as ready."""
        return "ready"

    def name_of(self, name: str | None) -> str:
        """Name of a model; of the default model if the name is None.

        Raises:
            ServiceError: no model has this name (404).
        """
        if name is None:
            return next(iter(self.packages))
        if name not in self.packages:
            allowed = ", ".join(self.packages)
            raise ServiceError(404, f"no model {name!r}; allowed: {allowed}", code="model_not_found", param="model")
        return name

    def queue(self, name: str | None) -> Q_co:
        """Queue of a model, loaded or not, see `name_of`.

        Raises:
            ServiceError: no model has this name (404), or the service is stopping (503).
        """
        model = self.name_of(name)
        if self.state == "stopping":
            raise unavailable("the service is about to stop", "stopping")
        return self._queues[model]


def by_name(packages: Sequence[Path]) -> dict[str, Path]:
    """Packages by the names of their folders.

    Raises:
        ArgumentError: two folders have the same name.
    """
    named = {short_name(path): path for path in packages}
    if len(named) < len(packages):
        raise ArgumentError(f"packages are named by the names of their folders, which must differ: {', '.join(named)}")
    return named
