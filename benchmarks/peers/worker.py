"""One peer in a process of its own: requests on stdin, answers on stdout, one JSON object a line each.

    python -m triptych.benchmarks.peers.worker ADAPTER '{"setting": {...}, "options": {...}}'

    {"do": "prepare", "size": SIZE}                       -> {"seconds"}
    {"do": "load", "components": [...], "size": SIZE}     -> {"seconds"}
    {"do": "call", "component": NAME, "size": SIZE}       -> {"seconds"}
    {"do": "picture", "picture": REQUEST}                 -> {"seconds"}; pixels are in the file of REQUEST
    {"do": "product", "size": 2048, "dtype": "bfloat16"}  -> {"seconds"} of one matrix product
    {"do": "memory"}                                      -> {"peak_bytes"}

SIZE and REQUEST are `Size` and `ImageRequest` of `work`. A request that fails is answered with {"error": reason}. The
first line, {"ready": true}, says that the adapter is open. The end of stdin ends the process.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np

from ..memory import peak_bytes
from .adapters import Adapter
from .work import ImageRequest, Setting, Size

Answer = dict[str, Any]

_PR_SET_PDEATHSIG = 1  # prctl(2)


class Worker:
    """Executes requests on one adapter, and takes the time."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.calls: dict[tuple[str, Size], Callable[[], object]] = {}

    def answer(self, request: dict[str, Any]) -> Answer:
        """The answer to one request."""
        try:
            return self._do(**request)
        except Exception as error:  # of any library; the driver continues with the other peers
            lines = (str(error).strip() or repr(error)).splitlines()
            return {"error": f"{type(error).__name__}: {lines[0]}"}

    def _do(self, do: str, **arguments: Any) -> Answer:
        if do == "memory":
            return {"peak_bytes": peak_bytes()}
        if do == "product":
            return {"seconds": self.adapter.product_seconds(**arguments)}  # type: ignore[attr-defined]
        if do == "picture":
            request = arguments["picture"]
            return self._images(ImageRequest(**request | {"size": Size(**request["size"])}))
        size = Size(**arguments["size"])
        if do == "call":
            return _timed(self._call(arguments["component"], size))
        if do == "load":
            self.calls.clear()
            return _timed(lambda: self.adapter.load(arguments["components"], size))
        return _timed(lambda: self.adapter.prepare(size))

    def _call(self, component: str, size: Size) -> Callable[[], object]:
        if (component, size) not in self.calls:
            self.calls[component, size] = self.adapter.call(component, size)
        return self.calls[component, size]

    def _images(self, request: ImageRequest) -> Answer:
        made: list[np.ndarray] = []
        answer = _timed(lambda: made.append(self.adapter.draw(request)))
        np.save(request.file, made[0])
        return answer


def _timed(call: Callable[[], object]) -> Answer:
    start = time.perf_counter()
    call()
    return {"seconds": time.perf_counter() - start}


def _die_with_parent() -> None:
    """End this process with its driver, as a stopped worker never sees the end of stdin; Linux only."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Serve until stdin ends."""
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print to stdout, too
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    module = import_module(f".adapters.{name}", __package__)
    worker = Worker(module.open_peer(Setting(**arguments["setting"]), **arguments["options"]))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
