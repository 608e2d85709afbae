"""The packages that are served, by name; and whether they can be asked."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..package import open_package
from ..pipeline import TextToImage
from .batcher import Batcher
from .metrics import Metrics
from .refusals import Refusal, unavailable
from .schema import Model

BATCH = 4
"""Pictures of a call on a device; the CPU computes row by row, where company only makes the first wait."""

_log = logging.getLogger(__name__)


class Models:
    """Packages by the names of their folders.

    Args:
        packages: their folders; the first is for requests that name none.
        metrics: that the queues tell.
        batch: pictures of a call at most; None is what suits the device.
        wait: seconds that a picture may wait for company.
        queue: pictures that may wait, of each package.

    Attributes:
        state: loading, ready or stopping.

    Raises:
        PackageError: one of them is no package.
        ArgumentError: two have the same name.
    """

    def __init__(
        self, packages: Sequence[Path], metrics: Metrics, *, batch: int | None, wait: float, queue: int
    ) -> None:
        self._packages = {path.resolve().name: path for path in packages}
        if len(self._packages) < len(packages):
            raise ArgumentError(f"packages go by the names of their folders; two are {', '.join(self._packages)}")
        self._listed = [
            Model(id=name, created=int((open_package(path).path / "model_index.json").stat().st_mtime))
            for name, path in self._packages.items()
        ]
        self._metrics, self._batch, self._wait, self._queue = metrics, batch, wait, queue
        self._batchers: dict[str, Batcher] = {}
        self.state = "loading"

    def load(self, options: Mapping[str, Any]) -> None:
        """Load them one after the other, unless told to stop; errors as those of `TextToImage.load`."""
        for name, path in self._packages.items():
            if self.state == "stopping":
                break
            pipe = TextToImage.load(path, **options)
            _log.info("%s on %s (%s)", name, pipe.device.name, pipe.device.provider)
            suits = 1 if pipe.device.memory.kind == "cpu" else BATCH
            self._batchers[name] = Batcher(
                name,
                pipe,
                self._metrics,
                batch=suits if self._batch is None else self._batch,
                wait=self._wait,
                queue=self._queue,
            )
        if self.state == "stopping":
            self.stop()  # those that were loaded meanwhile, too
        else:
            self.state = "ready"

    def listed(self) -> list[Model]:
        """All of them, loaded or not."""
        return self._listed

    def find(self, name: str) -> Model:
        """One of them.

        Raises:
            Refusal: there is none of that name.
        """
        for model in self.listed():
            if model.id == name:
                return model
        allowed = ", ".join(self._packages)
        raise Refusal(404, f"no model {name!r}; allowed: {allowed}", code="model_not_found", param="model")

    def batcher(self, name: str | None) -> Batcher:
        """The queue of a model, of the first if it is not named.

        Raises:
            Refusal: there is none of that name (404), or it cannot be asked now (503).
        """
        found = next(iter(self._packages)) if name is None else self.find(name).id
        if self.state == "stopping":
            raise unavailable("the service is about to stop", "stopping")
        if found not in self._batchers:
            raise unavailable(f"{found} is being loaded", "loading")
        return self._batchers[found]

    def stop(self) -> None:
        """Accept nothing more; what was accepted is made."""
        self.state = "stopping"
        self._each(Batcher.close)

    def abandon(self) -> None:
        """Accept nothing more, and drop what was accepted."""
        self.state = "stopping"
        self._each(Batcher.abandon)

    def join(self) -> None:
        """Wait until all that was accepted is made; after `stop`."""
        self._each(Batcher.join)

    def _each(self, action: Callable[[Batcher], None]) -> None:
        for batcher in [*self._batchers.values()]:
            action(batcher)
