"""Tickets of accepted images, and generation of several images in one call."""

import itertools
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from ...errors import Cancelled, TriptychError
from ...pipeline import TextToImage
from ...request import Request
from ...sampling import Step
from ...tasks.batching import call, key_of
from ..metrics import Figures
from .previews import Previews
from .progress import Progress, costs_of, remaining

if TYPE_CHECKING:
    from PIL.Image import Image

StepCallback = Callable[[TextToImage, Step, int], None]
"""Called in the worker after each step, with the pipeline, the step and the row of the image in the batch.

If the image is upscaled, the step is counted over both passes."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Ticket:
    """An accepted image.

    Attributes:
        request: its arguments.
        upscale: factor of a second pass; None for one pass.
        key: images of equal keys can share a call.
        costs: relative seconds of its denoiser calls, see `costs_of`.
        callback: called after each of them.
        done: future of the result.
        arrived: time of arrival, monotonic.
        dropped: it was cancelled.
        running: its progress since it has been started, replaced as a whole.
    """

    request: Request
    upscale: float | None
    key: Hashable
    costs: Sequence[float]
    callback: StepCallback | None = None
    done: "Future[Image]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    dropped: bool = False
    running: Progress | None = None
    _started: float = 0.0

    def start(self, seconds: float | None = None) -> None:
        """Note that generation starts, with the seconds that it will take, if they are known."""
        self._started = time.monotonic()
        self.running = Progress("running", None, 0, len(self.costs), seconds)

    def advance(self, step: int) -> None:
        """Note the number of denoiser calls that are done."""
        left = remaining(self.costs, step, time.monotonic() - self._started)
        self.running = Progress("running", None, step, len(self.costs), left)

    def queued(self, position: int | None, seconds: float | None) -> Progress:
        """The progress of an image that waits, see `Progress`."""
        return Progress("queued", position, 0, len(self.costs), seconds)


def tickets_of(
    pipe: TextToImage, requests: Sequence[Request], upscale: float | None, callbacks: Sequence[StepCallback | None]
) -> list[Ticket]:
    """Tickets of the images of one HTTP request, which differ only in their seeds."""
    key, costs = (key_of(pipe, requests[0]), upscale), costs_of(pipe.model, requests[0], upscale)
    return [
        Ticket(request, upscale, key, costs, callback) for request, callback in zip(requests, callbacks, strict=True)
    ]


class Queue(Protocol):
    """Interface of the queue of one package.

    Attributes:
        name: of the model.
        pipe: the package, for its geometry and components; the queue may generate the images elsewhere.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def pipe(self) -> TextToImage: ...  # noqa: D102

    def submit(
        self, requests: Sequence[Request], callbacks: Sequence[Previews | None], upscale: float | None = None
    ) -> list[Ticket]:
        """Add the images of one HTTP request, which differ only in their seeds, to the queue: all of them or none.

        Args:
            requests: one for each image.
            callbacks: previews of each image.
            upscale: factor of a second pass, see `upscaled`.

        Raises:
            ServiceError: more images than the capacity of the queue (400), or than it has room for now (429), or the
                queue is closed (503).
        """

    def progress(self, ticket: Ticket) -> Progress:
        """State of an image that is not finished."""

    def drop(self, tickets: Iterable[Ticket]) -> None:
        """Cancel images: they are not generated, or generation stops at the next step."""


def generate(name: str, pipe: TextToImage, tickets: Sequence[Ticket], figures: Figures) -> None:
    """Generate images with equal keys in one call, or one by one if that call fails; results are set on `done`.

    Args:
        name: of the model.
        pipe: the pipeline that generates them.
        tickets: of the call. If all are dropped, the call stops at the next step.
        figures: the metrics backend.
    """

    calls = itertools.count()  # over both passes, where there are two

    def on_step(step: Step) -> bool:
        step = replace(step, index=next(calls), total=len(tickets[0].costs))
        for row, ticket in enumerate(tickets):
            if not ticket.dropped:
                ticket.advance(step.index + 1)
                if ticket.callback is not None:
                    ticket.callback(pipe, step, row)
        return not all(ticket.dropped for ticket in tickets)

    try:
        output = call(pipe, [ticket.request for ticket in tickets], on_step, tickets[0].upscale)
    except Exception as error:
        if len(tickets) > 1 and not isinstance(error, Cancelled):
            for ticket in tickets:  # an error of one image must not fail the others
                generate(name, pipe, [ticket], figures)
            return
        if not isinstance(error, TriptychError):
            _log.exception("an image of %s failed", name)
        for ticket in tickets:
            ticket.done.set_exception(error)
        return
    figures.called(name, output)
    for ticket, image in zip(tickets, output.images, strict=True):
        ticket.done.set_result(image)
