"""Packages served by this process, each with its own worker thread."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...pipeline import TextToImage
from ..metrics import Metrics
from ..queue.batcher import Batcher
from .catalog import Catalog

BATCH = 4
"""Images per call on a GPU by default; the CPU computes row by row, so batching only delays its first image."""

_log = logging.getLogger(__name__)


class Models(Catalog[Batcher]):
    """Catalog of packages that are loaded in this process.

    Args:
        packages: see `Catalog`, which may raise.
        metrics: updated by the queues.
        batch: maximum number of images per call; None chooses by device.
        wait: seconds that an image may wait for others, to share a call (batching).
        queue: maximum number of images in the queue of each package.
    """

    def __init__(
        self, packages: Sequence[Path], metrics: Metrics, *, batch: int | None, wait: float, queue: int
    ) -> None:
        super().__init__(packages, queue)
        self._metrics, self._batch, self._wait = metrics, batch, wait

    def load(self, options: Mapping[str, Any]) -> None:
        """Load the packages in order until `stop` is called; raises the errors of `TextToImage.load`."""
        for name, path in self.packages.items():
            if self.state == "stopping":
                break
            pipe = TextToImage.load(path, **options)
            _log.info("%s on %s (%s)", name, pipe.device.name, pipe.device.provider)
            batch = suitable(pipe) if self._batch is None else self._batch
            self._queues[name] = Batcher(name, pipe, self._metrics, batch=batch, wait=self._wait, queue=self.capacity)
        if self.state == "stopping":
            self.stop()  # also stops the packages loaded since
        else:
            self.state = "ready"

    def stop(self) -> None:
        """Reject new requests and finish the accepted ones."""
        self.state = "stopping"
        self._each(Batcher.close)

    def abandon(self) -> None:
        """Reject new requests and cancel the accepted ones."""
        self.state = "stopping"
        self._each(Batcher.abandon)

    def join(self) -> None:
        """Wait until all accepted requests are finished; call after `stop`."""
        self._each(Batcher.join)

    def _each(self, action: Callable[[Batcher], None]) -> None:
        for batcher in [*self._queues.values()]:
            action(batcher)


def suitable(pipe: TextToImage) -> int:
    """Default maximum of images per call on the pipeline's device."""
    return 1 if pipe.device.memory.kind == "cpu" else BATCH
