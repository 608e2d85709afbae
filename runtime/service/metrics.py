"""Metrics of the service, for Prometheus."""

from collections.abc import Callable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..pipeline import Output

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
IMAGES = (1, 2, 3, 4, 6, 8, 12, 16, 32)


class Figures(Protocol):
    """Interface of a metrics backend."""

    def called(self, model: str, output: Output) -> None:
        """Record a pipeline call and its output."""

    def waited(self, model: str, seconds: float) -> None:
        """Record how long an image waited in the queue."""

    def dropped(self, model: str) -> None:
        """Record a cancelled image."""

    def erred(self, status: int) -> None:
        """Record an error response."""


class Metrics(Figures):
    """Prometheus metrics of one service, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "triptych_component_seconds",
            "Seconds of a call by component; queue is the time an image waits.",
            ("model", "component"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._batch = Histogram(
            "triptych_batch_size", "Images of a call.", ("model",), buckets=IMAGES, registry=self.registry
        )
        self._depth = Gauge("triptych_queue_depth", "Images in the queue.", ("model",), registry=self.registry)
        self._images = Counter("triptych_pictures", "Generated images.", ("model",), registry=self.registry)
        self._dropped = Counter("triptych_cancelled", "Cancelled images.", ("model",), registry=self.registry)
        self._loads = Histogram(
            "triptych_load_seconds",
            "Seconds to load a package.",
            ("model",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._unloads = Counter("triptych_unloads", "Unloaded packages.", ("model",), registry=self.registry)
        self._errors = Counter("triptych_errors", "Error responses.", ("code",), registry=self.registry)

    def watch(self, model: str, depth: Callable[[], int]) -> None:
        """Report the length of a queue from now on."""
        self._depth.labels(model).set_function(depth)

    def called(self, model: str, output: Output) -> None:
        """Record a pipeline call and its output."""
        self._batch.labels(model).observe(len(output.images))
        self._images.labels(model).inc(len(output.images))
        for component, seconds in output.timings.items():
            self._seconds.labels(model, component).observe(seconds)

    def waited(self, model: str, seconds: float) -> None:
        """Record how long an image waited in the queue."""
        self._seconds.labels(model, "queue").observe(seconds)

    def dropped(self, model: str) -> None:
        """Record a cancelled image."""
        self._dropped.labels(model).inc()

    def erred(self, status: int) -> None:
        """Record an error response."""
        self._errors.labels(str(status)).inc()

    def loaded(self, model: str, seconds: float) -> None:
        """Record that a package was loaded."""
        self._loads.labels(model).observe(seconds)

    def unloaded(self, model: str) -> None:
        """Record that a package was unloaded."""
        self._unloads.labels(model).inc()

    def text(self) -> bytes:
        """Metrics in Prometheus' text format."""
        return generate_latest(self.registry)
