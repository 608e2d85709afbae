"""Catalog of the served packages, by name."""

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
    """Packages by folder name, and the queue of each.

    Args:
        packages: their folders; the first is the default model.

    Attributes:
        packages: by name.
        state: loading, ready or stopping.

    Raises:
        PackageError: a folder is not a package.
        ArgumentError: two folders have the same name.
    """

    def __init__(self, packages: Sequence[Path]) -> None:
        self.packages = {path.resolve().name: path for path in packages}
        if len(self.packages) < len(packages):
            raise ArgumentError(
                f"packages are named by the names of their folders, which must differ: {', '.join(self.packages)}"
            )
        self._listed = [
            Model(id=name, created=int((open_package(path).path / "model_index.json").stat().st_mtime))
            for name, path in self.packages.items()
        ]
        self._queues: dict[str, Q_co] = {}
        self.state = "loading"

    def listed(self) -> list[Model]:
        """All models, loaded or not."""
        return self._listed

    def find(self, name: str) -> Model:
        """Model of a name.

        Raises:
            ServiceError: no model has this name (404).
        """
        for model in self.listed():
            if model.id == name:
                return model
        allowed = ", ".join(self.packages)
        raise ServiceError(404, f"no model {name!r}; allowed: {allowed}", code="model_not_found", param="model")

    def queue(self, name: str | None) -> Q_co:
        """Queue of a model; of the default model if the name is None.

        Raises:
            ServiceError: no model has this name (404), or the model is loading or stopping (503).
        """
        model = next(iter(self.packages)) if name is None else self.find(name).id
        if self.state == "stopping":
            raise unavailable("the service is about to stop", "stopping")
        if model not in self._queues:
            raise unavailable(f"{model} is loading", "loading")
        return self._queues[model]
