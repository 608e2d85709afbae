"""Packages served by this process, each with its own queue and worker thread."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import ArgumentError
from ...footprint import bytes_loaded
from ...ort.device import open_device
from ...pipeline import TextToImage
from ..limits import PoolLimits
from ..metrics import Metrics
from ..queue.batcher import Batcher
from ..queue.pool import ModelState, Pool
from .catalog import Catalog

_GIB = 1 << 30

_log = logging.getLogger(__name__)


class Models(Catalog[Batcher]):
    """Catalog of packages that are loaded in this process.

    Args:
        packages: see `Catalog`, which may raise.
        metrics: updated by the queues.
        batch: maximum number of images per call; None chooses by device.
        wait: seconds that an image may wait for others, to share a call (batching).
        queue: maximum number of images in the queue of each package.
        loaded: limits of the packages that are loaded at the same time.
    """

    def __init__(
        self,
        packages: Sequence[Path],
        metrics: Metrics,
        *,
        batch: int | None,
        wait: float,
        queue: int,
        loaded: PoolLimits = PoolLimits(),  # noqa: B008  # it is frozen
    ) -> None:
        super().__init__(packages, queue)
        self._loaded, self._pool = loaded, Pool(loaded, metrics)
        for name, pipe in self.planners.items():
            self._queues[name] = Batcher(name, pipe, self._pool, metrics, batch=batch, wait=wait, queue=queue)

    def state_of(self, name: str) -> ModelState:
        """State of a model."""
        return self._pool.state_of(name)

    def load(self, options: Mapping[str, Any]) -> None:
        """Load the first packages in order, as many as are kept, until `stop` is called; the others on first use.

        Raises:
            ArgumentError: a package alone is larger than the memory for all.
            PackageError, ProviderError: see `TextToImage.load`.
        """
        self._pool.start(lambda name: self._load(name, options), self._sizes(**options))
        for name in self.packages:
            if self.state == "stopping" or not self._pool.preload(name):
                break
        if self.state != "stopping":
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

    def _load(self, name: str, options: Mapping[str, Any]) -> TextToImage:
        pipe = TextToImage.load(self.packages[name], **options)
        _log.info("%s on %s (%s)", name, pipe.device.name, pipe.device.provider)
        return pipe

    def _sizes(self, device: Any = "auto", *, memory: str = "fast", **options: Any) -> dict[str, int]:
        """Estimated bytes of each package when it is loaded."""
        on_host = open_device(device, **options).on_cpu
        sizes = {name: bytes_loaded(pipe.model, on_host=on_host, memory=memory) for name, pipe in self.planners.items()}
        allowed = self._loaded.memory
        for name, size in sizes.items():
            if allowed is not None and size > allowed:
                raise ArgumentError(
                    f"{name} needs {size / _GIB:,.2f} GiB of memory or more when it is loaded; allowed: "
                    f"{allowed / _GIB:,.2f} GiB (--max-memory)"
                )
        return sizes

    def _each(self, action: Callable[[Batcher], None]) -> None:
        for batcher in self._queues.values():
            action(batcher)
