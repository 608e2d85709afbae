"""Progress of images: in the queue, and as events of a stream; images in two passes; clients that do not read."""

import asyncio
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.runtime import TextToImage
from triptych.runtime.errors import Cancelled
from triptych.runtime.image.settings import Settings
from triptych.runtime.request import Request
from triptych.runtime.service.http.delivery import Job, encode_image, in_base64
from triptych.runtime.service.http.stream import EventStream
from triptych.runtime.service.metrics import Metrics
from triptych.runtime.service.queue.progress import costs_of, remaining
from triptych.runtime.tasks.upscaling import upscaled

from .queues import BASE, SECONDS, Gate, Queue
from .serving import BODY, CALLER, EDITS, GENERATIONS, LONG, Service, png, service
from .test_api import error_of, events_of, opened

STREAM = BODY | {"stream": True, "progress": True}
UPSCALED: dict[str, Any] = {"upscale": 1.5, "strength": 0.6, "num_inference_steps": 5}


@pytest.fixture(scope="module")
def slow(slow_package: Path) -> Iterator[Service]:
    with service(slow_package) as running:
        yield running


def test_an_image_in_the_queue_knows_its_place_and_a_running_one_its_step(queue: Queue) -> None:
    progress = queue.batcher.progress
    first, second = queue.add(seed=1), queue.add(seed=2, num_inference_steps=3)
    running = progress(queue.first)
    assert (running.state, running.step, running.position) == ("running", 1, None)
    assert running.steps == len(queue.first.costs) > 1
    assert running.seconds_left is not None
    assert [progress(ticket).position for ticket in (first, second)] == [0, 1]
    assert progress(first).state == "queued"
    assert progress(first).seconds_left is None, "no image is measured yet"
    queue.batcher.drop([first])
    assert progress(second).position == 0
    queue.gate.opened.set()
    second.done.result(SECONDS)
    done = progress(second)
    assert (done.step, done.seconds_left) == (done.steps, 0)


def test_seconds_in_the_queue_follow_the_last_images(queue: Queue) -> None:
    queue.gate.opened.set()
    queue.add(seed=1).done.result(SECONDS)
    gate = Gate()
    queue.batcher.submit([Request(**(BASE | {"seed": 2, "num_inference_steps": 4}))], [gate])
    assert gate.reached.wait(SECONDS)
    near, far = (queue.batcher.progress(queue.add(seed=seed)).seconds_left for seed in (3, 4))
    gate.opened.set()
    assert near is not None
    assert far is not None
    assert 0 < near < far


def test_steps_of_a_second_pass_cost_by_its_pixels(pipe: TextToImage) -> None:
    request = Request(**(BASE | {"num_inference_steps": 4, "scheduler": "ddim", "strength": 0.5}))
    costs = costs_of(pipe.model, request, 2.0)
    assert costs == [64 * 64] * 4 + [128 * 128] * 2
    assert remaining(costs, 4, 1.0) == 2.0, "two steps of the cost of four each"


def test_an_upscaled_image_is_that_of_both_passes_alone_and_in_a_batch(pipe: TextToImage, queue: Queue) -> None:
    requests = [Request(**(BASE | {"seed": seed, "strength": 0.6, "num_inference_steps": 5})) for seed in (1, 2)]
    tickets = queue.batcher.submit(requests, [None, None], 1.5)
    other = queue.add(seed=3, num_inference_steps=5)
    assert other.key != tickets[0].key
    queue.gate.opened.set()
    for ticket in tickets:
        expected = upscaled(pipe, ticket.request, 1.5).images[0]
        image = ticket.done.result(SECONDS)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
        assert image.info["triptych"] == expected.info["triptych"]
        assert ticket.running is not None
        assert ticket.running.step == ticket.running.steps == len(ticket.costs)
    assert other.done.result(SECONDS).size == (64, 64)
    assert queue.calls() == (3, 4)


def test_an_image_that_is_dropped_in_its_second_pass_stops(pipe: TextToImage, queue: Queue) -> None:
    queue.gate.opened.set()
    steps = []

    def drop_in_second_pass(_: TextToImage, step: Any, row: int) -> None:
        steps.append(step.index)
        if step.latents.shape[-1] > 64 // pipe.model.latents.factor:
            queue.batcher.drop([ticket])

    held, arguments = Gate(), BASE | {"seed": 2, "num_inference_steps": 4, "scheduler": "ddim"}
    queue.batcher.submit([Request(**(BASE | {"seed": 1}))], [held])
    (ticket,) = queue.batcher.submit([Request(**arguments)], [drop_in_second_pass], 2.0)
    held.opened.set()
    with pytest.raises(Cancelled):
        ticket.done.result(SECONDS)
    assert len(ticket.costs) == 6
    assert steps == [0, 1, 2, 3, 4], "four of the first pass, one of two of the second"


def test_a_stream_has_the_progress_of_its_image(slow: Service) -> None:
    """A request that waits behind another one of the same service."""
    ahead = threading.Thread(target=slow.client.post, args=(GENERATIONS,), kwargs={"json": BODY | {"n": 2}})
    ahead.start()
    answer = slow.client.post(GENERATIONS, json=STREAM | LONG | {"n": 2})
    ahead.join()
    events = events_of(answer.text)
    for row in range(2):
        of_row = [event for event in events if event["index"] == row]
        assert of_row[-1]["type"] == "image_generation.completed"
        progress = of_row[:-1]
        assert {event["type"] for event in progress} == {"image_generation.progress"}
        assert {event["seed"] for event in progress} == {7 + row}
        states = [event["state"] for event in progress]
        assert states == sorted(states), "queued, then running"
        assert states[-1] == "running"
        steps = [event["step"] for event in progress]
        assert steps == sorted(steps)
        assert all(event["step"] <= event["steps"] for event in progress)
        assert len({*steps}) > 2
        assert all(event["seconds_left"] is not None for event in progress if event["step"])
        positions = [event["position"] for event in progress if event["state"] == "queued"]
        assert positions == sorted(positions, reverse=True)
        assert all(event["position"] is None for event in progress if event["state"] == "running")
        assert progress == [event for k, event in enumerate(progress) if k == 0 or event != progress[k - 1]]


def test_a_stream_without_progress_has_none_of_its_events(served: Service) -> None:
    text = served.client.post(GENERATIONS, json=STREAM | {"progress": False, "num_inference_steps": 6}).text
    assert [event["type"] for event in events_of(text)] == ["image_generation.completed"]


def test_edits_have_progress_too(served: Service) -> None:
    from tests.support.images import example_image

    files = {"image": ("fox.png", png(example_image(64, 64)), "image/png")}
    events = events_of(served.client.post(EDITS, data=STREAM, files=files).text)
    assert events[0]["type"] == "image_edit.progress"
    assert events[-1]["type"] == "image_edit.completed"


def test_an_upscaled_image_over_http_is_reproduced_by_its_settings(served: Service, pipe: TextToImage) -> None:
    answer = served.client.post(GENERATIONS, json=BODY | UPSCALED)
    assert answer.status_code == 200, answer.text
    assert answer.json()["size"] == "96x96"
    image = opened(answer.json()["data"][0])
    assert image.size == (96, 96)
    settings = Settings.from_json(image.info["triptych"])
    assert (settings.upscale, settings.strength) == (1.5, 0.6)
    arguments = settings.arguments()
    again = upscaled(pipe, upscale=arguments.pop("upscale"), request=Request(**arguments)).images[0]
    np.testing.assert_array_equal(np.asarray(image), np.asarray(again))


def test_previews_and_progress_count_both_passes(served: Service, pipe: TextToImage) -> None:
    body = STREAM | UPSCALED | {"partial_images": 3, "scheduler": "ddim"}
    events = events_of(served.client.post(GENERATIONS, json=body).text)
    previews = [event for event in events if event["type"].endswith("partial_image")]
    assert [event["partial_image_index"] for event in previews] == [0, 1, 2]
    assert [opened(event).size for event in previews] == [(64, 64), (64, 64), (96, 96)]
    assert {event["steps"] for event in events if event["type"].endswith("progress")} == {5 + 3}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"upscale": 1.0}, "upscale"),
        ({"upscale": 4.5}, "upscale"),
        ({"upscale": 3.0}, "size"),
        ({"upscale": 1.5, "size": "99992x99992"}, "size"),
        ({"strength": 0.5}, None),
        ({"upscale": 1.5, "strength": 0}, "strength"),
        ({"upscale": 1.5, "guidance_scale": [2.0, 3.0]}, None),
    ],
    ids=str,
)
def test_what_cannot_be_upscaled_is_refused(served: Service, fields: dict[str, Any], param: str | None) -> None:
    assert error_of(served.client.post(GENERATIONS, json=BODY | fields), 400)["param"] == param


def test_a_model_that_cannot_upscale_says_so(tmp_path: Path) -> None:
    from tests.support import tiny_package

    with service(tiny_package.write(tmp_path / "refiner", "sdxl-refiner")) as running:
        error = error_of(running.client.post(GENERATIONS, json=BODY | {"upscale": 2}), 400)
    assert error["message"] == "upscale=2: this model cannot upscale; leave it out"


def test_previews_for_a_client_that_never_reads_are_bounded(package: Path) -> None:
    """As many wait as OpenAI's clients ask for, whatever the number that was requested."""

    async def unread() -> None:
        with service(package) as running:
            encode = partial(encode_image, output_format="png", quality=100)
            request = Request(**(BASE | {"seed": 7, "num_inference_steps": 10, "scheduler": "ddim"}))
            job = Job(running.models.queue(None), [request], None, SECONDS)
            options: dict[str, Any] = {
                "encode": encode,
                "deliver": in_base64,
                "previews": 24,
                "progress": True,
                "fields": {},
            }
            stream = EventStream("image_generation", job, Metrics(), **options)
            (ticket,) = stream._tickets
            await asyncio.wrap_future(ticket.done)
            assert [number for number, _ in stream._updates[0].previews] == [1, 2, 3]
            events = [json.loads(event.split(b"data: ")[1]) async for event in stream._events()]
        kinds = [event["type"].removeprefix("image_generation.") for event in events]
        assert kinds == ["progress", "partial_image", "partial_image", "partial_image", "completed"]

    asyncio.run(unread())


def test_a_client_that_never_reads_is_left_alone_after_the_time_limit(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triptych.runtime.service.http.stream._READING_SECONDS", 0.1)
    messages = [{"type": "http.request", "body": json.dumps(STREAM).encode()}]
    headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST",
        "path": GENERATIONS,
    }
    scope |= {"raw_path": b"", "query_string": b"", "headers": headers, "client": CALLER, "http_version": "1.1"}
    never = asyncio.Event()

    async def receive() -> Any:
        return messages.pop() if messages else await never.wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await never.wait()

    async def call() -> None:
        async with asyncio.timeout(SECONDS):
            await running.app(scope, receive, send)

    with service(package, timeout=0.2) as running:
        asyncio.run(call())
