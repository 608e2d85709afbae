"""What is counted and timed, as Prometheus reads it."""

from collections.abc import Callable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..pipeline import Output

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
PICTURES = (1, 2, 3, 4, 6, 8, 12, 16, 32)


class Figures(Protocol):
    """What is told of the work, whoever keeps it."""

    def called(self, model: str, output: Output) -> None:
        """One call gave this."""

    def waited(self, model: str, seconds: float) -> None:
        """A picture's turn came after so long."""

    def dropped(self, model: str) -> None:
        """Nobody waits for a picture any more that was accepted."""

    def erred(self, status: int) -> None:
        """An answer was an error."""


class Metrics(Figures):
    """The figures of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "triptych_component_seconds",
            "Seconds of a call by component; queue is what a picture waited.",
            ("model", "component"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._batch = Histogram(
            "triptych_batch_size", "Pictures of a call.", ("model",), buckets=PICTURES, registry=self.registry
        )
        self._depth = Gauge("triptych_queue_depth", "Pictures that wait.", ("model",), registry=self.registry)
        self._pictures = Counter("triptych_pictures", "Pictures that were made.", ("model",), registry=self.registry)
        self._dropped = Counter(
            "triptych_cancelled", "Pictures that nobody waited for any more.", ("model",), registry=self.registry
        )
        self._errors = Counter("triptych_errors", "Answers that are errors.", ("code",), registry=self.registry)

    def watch(self, model: str, depth: Callable[[], int]) -> None:
        """From now on, tell how much waits."""
        self._depth.labels(model).set_function(depth)

    def called(self, model: str, output: Output) -> None:
        """One call gave this."""
        self._batch.labels(model).observe(len(output.images))
        self._pictures.labels(model).inc(len(output.images))
        for component, seconds in output.timings.items():
            self._seconds.labels(model, component).observe(seconds)

    def waited(self, model: str, seconds: float) -> None:
        """A picture's turn came after so long."""
        self._seconds.labels(model, "queue").observe(seconds)

    def dropped(self, model: str) -> None:
        """Nobody waits for a picture any more that was accepted."""
        self._dropped.labels(model).inc()

    def erred(self, status: int) -> None:
        """An answer was an error."""
        self._errors.labels(str(status)).inc()

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)
