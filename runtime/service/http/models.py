"""The packages that are served by this process, each with a thread of its own."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...pipeline import TextToImage
from ..metrics import Metrics
from ..queue.batcher import Batcher
from .catalog import Catalog

BATCH = 4
"""Pictures of a call on a device; the CPU computes row by row, where company only makes the first wait."""

_log = logging.getLogger(__name__)


class Models(Catalog[Batcher]):
    """Packages that are loaded here.

    Args:
        packages: see `Catalog`, and for what it raises.
        metrics: that the queues tell.
        batch: pictures of a call at most; None is what suits the device.
        wait: seconds that a picture may wait for company.
        queue: pictures that may wait, of each package.
    """

    def __init__(
        self, packages: Sequence[Path], metrics: Metrics, *, batch: int | None, wait: float, queue: int
    ) -> None:
        super().__init__(packages)
        self._metrics, self._batch, self._wait, self._most = metrics, batch, wait, queue

    def load(self, options: Mapping[str, Any]) -> None:
        """Load them one after the other, unless told to stop; errors as those of `TextToImage.load`."""
        for name, path in self.packages.items():
            if self.state == "stopping":
                break
            pipe = TextToImage.load(path, **options)
            _log.info("%s on %s (%s)", name, pipe.device.name, pipe.device.provider)
            batch = suitable(pipe) if self._batch is None else self._batch
            self._queues[name] = Batcher(name, pipe, self._metrics, batch=batch, wait=self._wait, queue=self._most)
        if self.state == "stopping":
            self.stop()  # those that were loaded meanwhile, too
        else:
            self.state = "ready"

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
        for batcher in [*self._queues.values()]:
            action(batcher)


def suitable(pipe: TextToImage) -> int:
    """Pictures of a call where nothing is said."""
    return 1 if pipe.device.memory.kind == "cpu" else BATCH
