"""Pictures that were accepted, and the making of several in one call."""

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

Watch = Callable[[TextToImage, Step, int], None]
"""Called where the picture is made after each step, with what makes it and the row of the picture in the step."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Ticket:
    """A picture that was accepted. `done` gives it; `dropped` says that nobody waits for it any more."""

    request: Request
    key: Hashable
    watch: Watch | None = None
    done: "Future[Image]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    dropped: bool = False


class Queue(Protocol):
    """Where the pictures of one package wait for their turn.

    Attributes:
        name: of the model.
        pipe: the package, which is asked what it can do; whether it is what makes the pictures is the queue's affair.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def pipe(self) -> TextToImage: ...  # noqa: D102

    def submit(self, requests: Sequence[Request], watches: Sequence[Previews | None]) -> list[Ticket]:
        """Put the pictures of a request, which differ in their seeds alone, in the queue, all or none.

        Raises:
            ServiceError: more than the queue ever takes (400), than it takes now (429), or it is closed (503).
        """

    def drop(self, tickets: Iterable[Ticket]) -> None:
        """Nobody waits for these: they are not made, or no further than the step that is being made."""


def make(name: str, pipe: TextToImage, tickets: Sequence[Ticket], figures: Figures) -> None:
    """Make images whose requests have equal keys in one call, or each alone where that fails; `done` has the results.

    Args:
        name: of the model.
        pipe: what makes them.
        tickets: whose turn it is. Where all are dropped it stops at the next step.
        figures: that are told of it.
    """

    def after(step: Step) -> bool:
        for row, ticket in enumerate(tickets):
            if ticket.watch is not None and not ticket.dropped:
                ticket.watch(pipe, step, row)
        return not all(ticket.dropped for ticket in tickets)

    try:
        output = call(pipe, [ticket.request for ticket in tickets], after)
    except Exception as error:
        if len(tickets) > 1 and not isinstance(error, Cancelled):
            for ticket in tickets:  # what one of them brought about is not the others' fault
                make(name, pipe, [ticket], figures)
            return
        if not isinstance(error, TriptychError):
            _log.exception("a picture of %s failed", name)
        for ticket in tickets:
            ticket.done.set_exception(error)
        return
    figures.called(name, output)
    for ticket, image in zip(tickets, output.images, strict=True):
        ticket.done.set_result(image)
