"""Metrics of the service on Ray, exported on the metrics port of Ray on each machine."""

from ray.serve import metrics

from ...pipeline import Output
from ..metrics import IMAGES, SECONDS, Figures


class RayFigures(Figures):
    """Metrics of one replica, with the names of `Metrics` and the prefix `ray_`."""

    def __init__(self) -> None:
        self._seconds = metrics.Histogram(
            "triptych_component_seconds",
            "Seconds of a call by component; queue is the time an image waits.",
            list(SECONDS),
            ("model", "component"),  # type: ignore[arg-type]  # annotated as a tuple of one name; Ray accepts any number
        )
        self._batch = metrics.Histogram("triptych_batch_size", "Images of a call.", list(IMAGES), ("model",))
        self._images = metrics.Counter("triptych_pictures", "Generated images.", ("model",))
        self._dropped = metrics.Counter("triptych_cancelled", "Cancelled images.", ("model",))
        self._errors = metrics.Counter("triptych_errors", "Error responses.", ("code",))

    def called(self, model: str, output: Output) -> None:
        """Record a pipeline call and its output."""
        of_model = {"model": model}
        self._batch.observe(len(output.images), of_model)
        self._images.inc(len(output.images), of_model)
        for component, seconds in output.timings.items():
            self._seconds.observe(seconds, of_model | {"component": component})

    def waited(self, model: str, seconds: float) -> None:
        """Record how long an image waited in the queue."""
        self._seconds.observe(seconds, {"model": model, "component": "queue"})

    def dropped(self, model: str) -> None:
        """Record a cancelled image."""
        self._dropped.inc(1, {"model": model})

    def erred(self, status: int) -> None:
        """Record an error response."""
        self._errors.inc(1, {"code": str(status)})
