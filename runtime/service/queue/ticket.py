"""Tickets of accepted images, and generation of several images in one call."""

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ...errors import Cancelled, TriptychError
from ...pipeline import TextToImage
from ...request import Request
from ...sampling import Step
from ...tasks.batching import call
from ..metrics import Figures
from .previews import Previews

if TYPE_CHECKING:
    from PIL.Image import Image

StepCallback = Callable[[TextToImage, Step, int], None]
"""Called in the worker after each step, with the pipeline, the step and the row of the image in the batch."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Ticket:
    """An accepted image: `done` is the future of its result, `dropped` is true if it was cancelled."""

    request: Request
    key: Hashable
    callback: StepCallback | None = None
    done: "Future[Image]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    dropped: bool = False


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

    def submit(self, requests: Sequence[Request], callbacks: Sequence[Previews | None]) -> list[Ticket]:
        """Add the images of one HTTP request, which differ only in their seeds, to the queue: all of them or none.

        Raises:
            ServiceError: more images than the capacity of the queue (400), or than it has room for now (429), or the
                queue is closed (503).
        """

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

    def on_step(step: Step) -> bool:
        for row, ticket in enumerate(tickets):
            if ticket.callback is not None and not ticket.dropped:
                ticket.callback(pipe, step, row)
        return not all(ticket.dropped for ticket in tickets)

    try:
        output = call(pipe, [ticket.request for ticket in tickets], on_step)
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
