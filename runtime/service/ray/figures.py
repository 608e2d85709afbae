"""What is counted and timed, where Ray keeps it: on the port of each machine that has Ray's own figures."""

from ray.serve import metrics

from ...pipeline import Output
from ..metrics import PICTURES, SECONDS, Figures


class RayFigures(Figures):
    """The figures of one replica, under the names that `Metrics` gives them, with `ray_` before."""

    def __init__(self) -> None:
        self._seconds = metrics.Histogram(
            "triptych_component_seconds",
            "Seconds of a call by component; queue is what a picture waited.",
            list(SECONDS),
            ("model", "component"),  # type: ignore[arg-type]  # any number of them will do
        )
        self._batch = metrics.Histogram("triptych_batch_size", "Pictures of a call.", list(PICTURES), ("model",))
        self._pictures = metrics.Counter("triptych_pictures", "Pictures that were made.", ("model",))
        self._dropped = metrics.Counter("triptych_cancelled", "Pictures that nobody waited for any more.", ("model",))
        self._errors = metrics.Counter("triptych_errors", "Answers that are errors.", ("code",))

    def called(self, model: str, output: Output) -> None:
        """One call gave this."""
        of_model = {"model": model}
        self._batch.observe(len(output.images), of_model)
        self._pictures.inc(len(output.images), of_model)
        for component, seconds in output.timings.items():
            self._seconds.observe(seconds, of_model | {"component": component})

    def waited(self, model: str, seconds: float) -> None:
        """A picture's turn came after so long."""
        self._seconds.observe(seconds, {"model": model, "component": "queue"})

    def dropped(self, model: str) -> None:
        """Nobody waits for a picture any more that was accepted."""
        self._dropped.inc(1, {"model": model})

    def erred(self, status: int) -> None:
        """An answer was an error."""
        self._errors.inc(1, {"code": str(status)})
