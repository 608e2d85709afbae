"""Calls that give their steps one by one: for loops, for asyncio, and with a progress bar."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from .errors import ArgumentError
from .output import Output
from .sampling import Step

P = ParamSpec("P")
R = TypeVar("R")


class Stream(Iterator[Step]):
    """Steps of one call; each is computed when it is taken, the images after the last one.

    Leaving the loop stops the computation: nothing runs between steps. `close`, or a `with` block, frees what the call
    holds at once.
    """

    def __init__(self, steps: Generator[Step, None, Output]) -> None:
        self._steps = steps
        self._output: Output | None = None

    @property
    def result(self) -> Output:
        """The images, once all steps were taken.

        Raises:
            ArgumentError: steps are left, or the call was stopped or failed.
        """
        if self._output is None:
            raise ArgumentError("the stream has no result: take all of its steps first")
        return self._output

    def close(self) -> None:
        """Stop the computation."""
        self._steps.close()

    def __next__(self) -> Step:
        try:
            return next(self._steps)
        except StopIteration as end:
            self._output = self._output or end.value
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncStream(AsyncIterator[Step]):
    """Steps of one call, computed in their own thread while the event loop keeps running.

    Errors of the arguments are raised with the first step. Cancelling the task that waits for a step stops the
    computation when that step ends; `aclose`, or leaving an `async with` block, stops it too, and waits for that.
    """

    def __init__(self, start: Callable[[], Stream]) -> None:
        self._start = start
        self._stream: Stream | None = None
        self._thread = ThreadPoolExecutor(1, "triptych")
        self._closed: Future[None] | None = None

    @property
    def result(self) -> Output:
        """The images, once all steps were taken: see `Stream.result`."""
        if self._stream is None:
            raise ArgumentError("the stream has no result: take all of its steps first")
        return self._stream.result

    async def aclose(self) -> None:
        """Stop the computation, and wait for the step that is being computed."""
        closed = self._closed or self._end()
        await asyncio.shield(asyncio.wrap_future(closed))  # the thread closes the stream, whatever becomes of this task

    async def __anext__(self) -> Step:
        if self._closed is not None:
            raise StopAsyncIteration
        try:
            step = await asyncio.wrap_future(self._thread.submit(self._advance))
        except BaseException:  # asyncio.CancelledError too: the thread closes the stream after the step
            self._end()
            raise
        if step is None:
            self._end()
            raise StopAsyncIteration
        return step

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _advance(self) -> Step | None:
        """The next step; None after the last one. In the thread."""
        if self._stream is None:
            self._stream = self._start()
        return next(self._stream, None)

    def _close(self) -> None:
        """Close the stream, in the thread."""
        if self._stream is not None:
            self._stream.close()

    def _end(self) -> Future[None]:
        """Let the thread close the stream and end."""
        self._closed = self._thread.submit(self._close)
        self._thread.shutdown(wait=False)
        return self._closed


@contextmanager
def progress_bar(total: int, *, shown: bool) -> Iterator[Callable[[], object]]:
    """A progress bar of `total` steps on stderr, if `shown`; yields the function that counts a step."""
    if not shown:
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="step") as bar:
        yield bar.update


def taking_arguments_of(
    call: Callable[Concatenate[Any, P], Any],
) -> Callable[[Callable[..., R]], Callable[Concatenate[Any, P], R]]:
    """A decorator for methods that take the arguments of `call`: they get its signature."""

    def decorate(method: Callable[..., R]) -> Callable[Concatenate[Any, P], R]:
        returns = inspect.signature(method).return_annotation
        method.__signature__ = inspect.signature(call).replace(return_annotation=returns)  # type: ignore[attr-defined]
        return method

    return decorate
