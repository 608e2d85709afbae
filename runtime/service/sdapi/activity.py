"""Images of this API that are not finished: their progress, and their interruption."""

from collections.abc import Iterable, Sequence

from ...pipeline import TextToImage
from ...request import Request
from ..queue.previews import Previews
from ..queue.progress import Progress
from ..queue.ticket import Queue, Ticket


class WatchedQueue:
    """A queue for one request, whose images can be interrupted.

    Args:
        queue: of the model.
        activity: lists this object while its images are not finished.

    Attributes:
        interrupted: its images were cancelled by `Activity.interrupt`.
    """

    def __init__(self, queue: Queue, activity: "Activity") -> None:
        self._queue, self._activity, self.interrupted = queue, activity, False
        self.tickets: list[Ticket] = []

    @property
    def name(self) -> str:
        """See `Queue`."""
        return self._queue.name

    @property
    def pipe(self) -> TextToImage:
        """See `Queue`."""
        return self._queue.pipe

    def submit(
        self, requests: Sequence[Request], callbacks: Sequence[Previews | None], upscale: float | None = None
    ) -> list[Ticket]:
        """See `Queue`."""
        self.tickets = self._queue.submit(requests, callbacks, upscale)
        self._activity.watched.append(self)
        return self.tickets

    def progress(self, ticket: Ticket) -> Progress:
        """See `Queue`."""
        return self._queue.progress(ticket)

    def drop(self, tickets: Iterable[Ticket]) -> None:
        """See `Queue`; called at the end of every request."""
        self._queue.drop(tickets)
        if self in self._activity.watched:
            self._activity.watched.remove(self)

    def interrupt(self) -> None:
        """Cancel the images that are not finished."""
        self.interrupted = True
        self._queue.drop(self.tickets)


class Activity:
    """Requests of this API that are not finished, the oldest first."""

    def __init__(self) -> None:
        self.watched: list[WatchedQueue] = []

    def interrupt(self) -> None:
        """Cancel the images of the oldest request."""
        for watched in self.watched[:1]:
            watched.interrupt()

    def progress(self) -> tuple[list[Progress], int]:
        """Progress of the images of the oldest request, and the number of those that wait in all requests."""
        tickets = [(watched, ticket) for watched in self.watched for ticket in watched.tickets]
        first = [watched.progress(ticket) for watched, ticket in tickets if watched is self.watched[0]]
        return first, sum(not ticket.done.done() for _, ticket in tickets)
