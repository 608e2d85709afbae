"""Tests of the queue and its worker: batching, order, cancellation and shutdown."""

import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError, Cancelled
from triptych.runtime.request import Request
from triptych.runtime.service.errors import ServiceError
from triptych.runtime.service.metrics import Metrics
from triptych.runtime.service.queue.previews import steps_of
from triptych.runtime.service.queue.ticket import Ticket
from triptych.runtime.tasks.batching import run

from .queues import BASE, SECONDS, Gate, Queue, batcher_of


def images_of(tickets: Sequence[Ticket]) -> list[Any]:
    return [ticket.done.result(SECONDS) for ticket in tickets]


def test_batched_images_equal_those_of_single_calls(pipe: TextToImage, queue: Queue) -> None:
    same = [queue.add(seed=seed, prompt=text) for seed, text in ((1, "an owl"), (2, "a red fox"))]
    other = queue.add(seed=3, num_inference_steps=3)
    same.append(queue.add(seed=4))
    queue.gate.opened.set()
    images = images_of([*same, other])
    assert queue.calls() == (3, 5), "the first image, a batch of three, the other image"
    for ticket, image in zip([*same, other], images, strict=True):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(run(pipe, [ticket.request])[0]))
        assert image.info["triptych"] == run(pipe, [ticket.request])[0].info["triptych"]


def test_a_batch_is_limited(queue: Queue) -> None:
    tickets = [queue.add(seed=seed) for seed in range(5)]
    queue.gate.opened.set()
    images_of(tickets)
    assert queue.calls() == (3, 6)


def test_the_first_image_waits_for_a_full_batch_or_the_timeout(pipe: TextToImage) -> None:
    batcher = batcher_of(pipe, metrics := Metrics(), batch=2, wait=1.0, queue=8)
    tickets = batcher.submit([Request(**(BASE | {"seed": 1}))], [None])
    time.sleep(0.1)
    tickets += batcher.submit([Request(**(BASE | {"seed": 2}))], [None])
    images_of(tickets)
    assert metrics.registry.get_sample_value("triptych_batch_size_count", {"model": "tiny"}) == 1
    start = time.monotonic()
    images_of(batcher.submit([Request(**(BASE | {"seed": 1}))], [None]))
    assert time.monotonic() - start > 1
    batcher.close()
    batcher.join()


def test_an_error_of_one_image_does_not_fail_its_batch(pipe: TextToImage, queue: Queue) -> None:
    """One prompt has a weight that is not finite as float32."""
    good = [queue.add(seed=seed) for seed in (1, 2)]
    bad = queue.add(seed=3, prompt=f"(fox:{10**39})")
    assert bad.key == good[0].key
    queue.gate.opened.set()
    for ticket, image in zip(good, images_of(good), strict=True):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(run(pipe, [ticket.request])[0]))
    with pytest.raises(ArgumentError, match="weights"):
        bad.done.result(SECONDS)


def test_a_dropped_image_in_the_queue_is_not_generated(queue: Queue) -> None:
    dropped, remaining = queue.add(seed=1), queue.add(seed=2)
    queue.batcher.drop([dropped])
    with pytest.raises(CancelledError):
        dropped.done.result(0)
    queue.gate.opened.set()
    images_of([remaining])
    assert queue.calls() == (2, 2)


def test_a_running_call_stops_at_the_next_step_when_dropped(queue: Queue) -> None:
    queue.batcher.drop([queue.first])
    queue.gate.opened.set()
    with pytest.raises(Cancelled, match="step 1 of"):
        queue.first.done.result(SECONDS)
    assert queue.gate.steps == 1
    assert queue.calls() == (0, 0)


def test_a_batch_continues_when_one_of_its_images_is_dropped(pipe: TextToImage, queue: Queue) -> None:
    queue.gate.opened.set()
    gate = Gate()
    requests = [Request(**(BASE | {"seed": seed})) for seed in (1, 2)]
    dropped, remaining = queue.batcher.submit(requests, [gate, None])
    assert gate.reached.wait(SECONDS)
    queue.batcher.drop([dropped])
    gate.opened.set()
    np.testing.assert_array_equal(np.asarray(images_of([remaining])[0]), np.asarray(run(pipe, requests[1:])[0]))
    assert gate.steps == 1, "no callbacks for a dropped image"


def test_the_queue_is_bounded_and_dropped_images_free_it(queue: Queue) -> None:
    tickets = [queue.add(seed=seed) for seed in range(7)]
    with pytest.raises(ServiceError) as refused:
        queue.batcher.submit([Request(**(BASE | {"seed": seed})) for seed in range(2)], [None] * 2)
    assert refused.value.status == 429
    assert int(refused.value.headers["Retry-After"]) >= 1
    tickets.append(queue.add(seed=7))
    with pytest.raises(ServiceError):
        queue.add(seed=8)
    queue.batcher.drop(tickets[:1])
    queue.add(seed=8)
    with pytest.raises(ServiceError) as refused:
        queue.batcher.submit([Request(**(BASE | {"seed": seed})) for seed in range(9)], [None] * 9)
    assert refused.value.status == 400, "more than the capacity"


def test_a_closed_queue_finishes_accepted_images(queue: Queue) -> None:
    tickets = [queue.first, queue.add(seed=1), queue.add(seed=2, num_inference_steps=3)]
    queue.batcher.close()
    with pytest.raises(ServiceError) as refused:
        queue.add(seed=3)
    assert refused.value.status == 503
    queue.gate.opened.set()
    queue.batcher.join()
    assert all(ticket.done.result(0) for ticket in tickets)


@pytest.mark.parametrize(
    ("count", "total", "steps"),
    [(0, 20, []), (1, 20, [9]), (3, 20, [4, 9, 14]), (3, 4, [0, 1, 2]), (3, 3, [0, 1]), (3, 1, []), (2, 2, [0])],
)
def test_previews_are_evenly_spaced_before_the_last_step(count: int, total: int, steps: list[int]) -> None:
    assert steps_of(count, total) == {index: number for number, index in enumerate(steps)}
