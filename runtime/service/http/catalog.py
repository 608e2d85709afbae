"""The packages that are served, by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

from ...errors import ArgumentError
from ...package.package import open_package
from ..errors import ServiceError, unavailable
from ..queue.ticket import Queue
from .schema import Model

Q_co = TypeVar("Q_co", bound=Queue, covariant=True)


class Catalog(Generic[Q_co]):
    """Packages by the names of their folders, and the queue of each.

    Args:
        packages: their folders; the first is for requests that name none.

    Attributes:
        packages: by name.
        state: loading, ready or stopping.

    Raises:
        PackageError: one of them is no package.
        ArgumentError: two have the same name.
    """

    def __init__(self, packages: Sequence[Path]) -> None:
        self.packages = {path.resolve().name: path for path in packages}
        if len(self.packages) < len(packages):
            raise ArgumentError(f"packages go by the names of their folders; two are {', '.join(self.packages)}")
        self._listed = [
            Model(id=name, created=int((open_package(path).path / "model_index.json").stat().st_mtime))
            for name, path in self.packages.items()
        ]
        self._queues: dict[str, Q_co] = {}
        self.state = "loading"

    def listed(self) -> list[Model]:
        """All of them, loaded or not."""
        return self._listed

    def find(self, name: str) -> Model:
        """One of them.

        Raises:
            ServiceError: there is none of that name.
        """
        for model in self.listed():
            if model.id == name:
                return model
        allowed = ", ".join(self.packages)
        raise ServiceError(404, f"no model {name!r}; allowed: {allowed}", code="model_not_found", param="model")

    def queue(self, name: str | None) -> Q_co:
        """The queue of a model, of the first if it is not named.

        Raises:
            ServiceError: there is none of that name (404), or it cannot be asked now (503).
        """
        found = next(iter(self.packages)) if name is None else self.find(name).id
        if self.state == "stopping":
            raise unavailable("the service is about to stop", "stopping")
        if found not in self._queues:
            raise unavailable(f"{found} is being loaded", "loading")
        return self._queues[found]
