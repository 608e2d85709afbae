"""The thread of a CUDA device, which does all CUDA work of the process on that device.

Why one thread, and not a lock:

- A CUDA graph is captured in global mode. A kernel, an allocation or a copy that another thread launches meanwhile
  falls into the capture or breaks it.
- Captured graphs, handles of cuBLAS and cuDNN, and plans of attention belong to the thread that made them. A new
  thread would capture again, and its handles would stay in memory for good.

Callers may be any threads, at the same time: a service's workers, generators that are resumed elsewhere. Their work is
done in the order in which it arrives, piece by piece; a piece is short (a denoising step is launched, not waited for),
so that runs at the same time take turns.
"""

import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Generic, ParamSpec, TypeVar

from ..errors import ProviderError

P = ParamSpec("P")
T = TypeVar("T")


class DeviceThread:
    """A thread that runs one function after another.

    Args:
        name: of the device, for errors and debuggers: cuda:0.
    """

    def __init__(self, name: str) -> None:
        self._name, self._process, self._local = name, os.getpid(), threading.local()
        self._executor = ThreadPoolExecutor(1, name, initializer=self._begin)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in the thread, wait, and return what it returns or raise what it raises.

        Within the thread it is an ordinary call.

        Raises:
            ProviderError: this is a copy of the process by `fork`, which has neither the thread nor a CUDA context.
        """
        if getattr(self._local, "here", False):
            return function(*args, **kwargs)
        if os.getpid() != self._process:
            raise ProviderError(
                f"{self._name} belongs to the process that was forked; start processes with the method spawn"
            )
        return self._executor.submit(function, *args, **kwargs).result()

    def clear(self, contents: list[Any]) -> None:
        """Empty a list in the thread, without waiting."""
        try:
            self._executor.submit(contents.clear)
        except RuntimeError:  # the interpreter is shutting down, and all threads have ended
            contents.clear()

    def _begin(self) -> None:
        self._local.here = True


class Owned(Generic[T]):
    """An object that is freed in the thread of its device; `value` must not be kept elsewhere.

    Args:
        value: the object.
        thread: of its device; None frees it where the last reference goes.
    """

    def __init__(self, value: T, thread: DeviceThread | None) -> None:
        self._contents = [value]
        if thread is not None:
            weakref.finalize(self, thread.clear, self._contents).atexit = False

    @property
    def value(self) -> T:
        """The object."""
        return self._contents[0]


@cache
def device_thread(index: int) -> DeviceThread:
    """The thread of a CUDA device."""
    return DeviceThread(f"cuda:{index}")
