"""Queues of tests: a batcher whose first image is held until a test lets it go on."""

import threading
from typing import Any

from triptych.runtime import Step, TextToImage
from triptych.runtime.request import Request
from triptych.runtime.service.limits import PoolLimits
from triptych.runtime.service.metrics import Metrics
from triptych.runtime.service.queue.batcher import Batcher
from triptych.runtime.service.queue.pool import Pool
from triptych.runtime.service.queue.ticket import Ticket

BASE: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 2, "height": 64, "width": 64}
SECONDS = 30


class Gate:
    """Step callback that blocks the worker after the first step until it is opened, and counts steps."""

    def __init__(self) -> None:
        self.reached, self.opened, self.steps = threading.Event(), threading.Event(), 0

    def __call__(self, pipe: TextToImage, step: Step, row: int) -> None:
        self.steps += 1
        self.reached.set()
        assert self.opened.wait(SECONDS)


def batcher_of(pipe: TextToImage, metrics: Metrics, *, batch: int, wait: float, queue: int) -> Batcher:
    """A batcher whose package is loaded."""
    pool = Pool(PoolLimits(), metrics)
    pool.start(lambda name: pipe, {"tiny": 0})
    return Batcher("tiny", pipe, pool, metrics, batch=batch, wait=wait, queue=queue)


class Queue:
    """A batcher with metrics, whose first image is blocked by a gate."""

    def __init__(self, pipe: TextToImage, **options: Any) -> None:
        self.metrics, self.gate = Metrics(), Gate()
        self.batcher = batcher_of(pipe, self.metrics, **{"batch": 4, "wait": 0.0, "queue": 8} | options)
        (self.first,) = self.batcher.submit([Request(**(BASE | {"seed": 0, "num_inference_steps": 5}))], [self.gate])
        assert self.gate.reached.wait(SECONDS)

    def add(self, **arguments: Any) -> Ticket:
        return self.batcher.submit([Request(**(BASE | arguments))], [None])[0]

    def calls(self) -> tuple[float, float]:
        """Number of calls, and number of images in all calls."""
        names = ("triptych_batch_size_count", "triptych_batch_size_sum")
        count, total = (self.metrics.registry.get_sample_value(name, {"model": "tiny"}) or 0.0 for name in names)
        return count, total
