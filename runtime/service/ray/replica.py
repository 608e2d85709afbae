"""Replica of a package on Ray Serve: a loaded pipeline that generates images in batches collected by Ray."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import serve

from ...errors import TriptychError
from ...image.pixels import SETTINGS_KEY
from ...package.package import short_name
from ...pipeline import TextToImage
from ...request import Request
from ...sampling import Step
from ..log import hide_prompts
from ..queue.batcher import suitable
from ..queue.previews import Previews
from ..queue.ticket import Ticket, generate, tickets_of
from .figures import RayFigures

_STEP_SECONDS = 0.1  # between events of steps


@dataclass(frozen=True)
class Started:
    """Generation of the image started."""


@dataclass(frozen=True)
class Stepped:
    """The number of denoiser calls that are done; not each one has this event."""

    step: int


@dataclass(frozen=True)
class Preview:
    """A preview: its number, and pixels uint8 [H, W, 3]."""

    number: int
    pixels: np.ndarray


@dataclass(frozen=True)
class Finished:
    """A generated image: pixels uint8 [H, W, 3], and its settings as JSON."""

    pixels: np.ndarray
    settings: str


@dataclass(frozen=True)
class Failed:
    """The error that an image failed with."""

    error: TriptychError


Event = Started | Stepped | Preview | Finished | Failed
"""Events of an image; the first is `Started`, and it ends with one of the last two."""


@dataclass(frozen=True)
class _Pending:
    ticket: Ticket
    emit: Callable[[Event], None]


class Replica:
    """A loaded package that generates images for Ray; `serve.deployment` turns the class into a deployment.

    Args:
        package: folder of the package.
        load: arguments of `TextToImage.load`; a replica without a GPU uses one thread for each CPU that Ray assigns.
        batch: images of a call at most; None: the default of the device.
        wait: seconds that an image may wait for others to batch with.
        log_prompts: allow prompts in the log.
    """

    def __init__(
        self, package: Path, load: Mapping[str, Any], *, batch: int | None, wait: float, log_prompts: bool
    ) -> None:
        if not log_prompts:
            hide_prompts()
        self._name = short_name(package)
        self._pipe = TextToImage.load(package, **_with_threads(load))
        self._figures = RayFigures()
        batched: Any = self._batched  # the decorator adds setters to the method
        batched.set_max_batch_size(suitable(self._pipe) if batch is None else batch)
        batched.set_batch_wait_timeout_s(wait)

    async def generate(self, request: Request, upscale: float | None, previews: int) -> AsyncIterator[Event]:
        """Generate one image and yield its events; closing the iterator cancels the image."""
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()

        def emit(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: no reader is left
                loop.call_soon_threadsafe(events.put_nowait, event)

        (ticket,) = tickets_of(self._pipe, [request], upscale, [_Report(emit, previews)])
        ticket.done.add_done_callback(lambda done: emit(_outcome(done)))
        waiting = asyncio.ensure_future(self._batched(_Pending(ticket, emit)))
        try:
            event: Event | None = None
            while not isinstance(event, Finished | Failed):
                event = await events.get()
                yield event
        finally:
            ticket.dropped = True
            waiting.cancel()

    @serve.batch
    async def _batched(self, batch: list[_Pending]) -> list[None]:
        """Generate a batch collected by Ray, with one call for each group of equal keys."""
        groups: dict[Hashable, list[_Pending]] = {}
        for pending in batch:
            groups.setdefault(pending.ticket.key, []).append(pending)
        for group in groups.values():
            remaining = [pending for pending in group if not pending.ticket.dropped]
            for pending in remaining:
                pending.emit(Started())
                pending.ticket.start()
                self._figures.waited(self._name, time.monotonic() - pending.ticket.arrived)
            if remaining:
                tickets = [pending.ticket for pending in remaining]
                await asyncio.to_thread(generate, self._name, self._pipe, tickets, self._figures)
        return [None] * len(batch)


class _Report:
    """Step callback that emits `previews` previews, and the number of steps at a bounded rate."""

    def __init__(self, emit: Callable[[Event], None], previews: int) -> None:
        self._emit, self._reported = emit, 0.0
        self._previews = Previews(previews, lambda number, pixels: emit(Preview(number, pixels)))

    def __call__(self, pipe: TextToImage, step: Step, row: int) -> None:
        """See `ticket.StepCallback`."""
        now = time.monotonic()
        if now - self._reported > _STEP_SECONDS:
            self._reported = now
            self._emit(Stepped(step.index + 1))
        self._previews(pipe, step, row)


def _outcome(done: "Future[Any]") -> Event:
    error = done.exception()
    if error is None:
        image = done.result()
        return Finished(np.asarray(image), image.info[SETTINGS_KEY])
    # the reader may not be able to import the class of another error
    return Failed(error if isinstance(error, TriptychError) else TriptychError(f"{type(error).__name__}: {error}"))


def _with_threads(load: Mapping[str, Any]) -> dict[str, Any]:
    resources = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    if resources.get("GPU"):
        return dict(load)
    threads = {"intra_op_num_threads": max(1, int(resources.get("CPU", 1)))}
    return {**load, "session_options": threads | dict(load.get("session_options") or {})}
