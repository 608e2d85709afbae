"""Packages that share a service: loaded on first use, unloaded when idle or in the way, in the order of requests."""

import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import tiny_package
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.footprint import bytes_loaded
from triptych.runtime.request import Request
from triptych.runtime.service.limits import PoolLimits
from triptych.runtime.service.metrics import Metrics
from triptych.runtime.service.queue.batcher import Batcher
from triptych.runtime.service.queue.pool import Pool
from triptych.runtime.service.queue.ticket import Ticket

from .queues import BASE, SECONDS, Gate
from .serving import BODY, GENERATIONS, Service, service
from .test_api import error_of, opened

NAMES = ("a", "b", "c")
BASE_OF_BODY = {name: value for name, value in BASE.items() if name != "prompt"}
"""Arguments of the pipeline that are equal to BODY."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Packages of one size."""
    folder = tmp_path_factory.mktemp("packages")
    return [tiny_package.write(folder / name) for name in NAMES]


def submit(running: Service, name: str, gate: Gate | None = None, **arguments: Any) -> Ticket:
    return running.models.queue(name).submit([Request(**(BASE | arguments))], [gate])[0]


def states(running: Service) -> dict[str, str]:
    """State of each model by name."""
    return {model["id"]: model["state"] for model in running.client.get("/v1/models").json()["data"]}


def ready(running: Service) -> set[str]:
    return {name for name, state in states(running).items() if state == "ready"}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_first_packages_are_loaded_at_the_start_and_others_on_first_use(folders: list[Path]) -> None:
    with service(*folders, loaded=PoolLimits(keep=2)) as running:
        assert running.client.get("/readyz").status_code == 200
        assert states(running) == {"a": "ready", "b": "ready", "c": "unloaded"}
        answer = running.client.post(GENERATIONS, json=BODY | {"model": "c"})
        assert answer.status_code == 200, answer.text
        assert states(running) == {"a": "unloaded", "b": "ready", "c": "ready"}, "a was used least recently"
        expected = TextToImage.load(folders[2], device="cpu")("a red fox", seed=7, **BASE_OF_BODY).images[0]
        np.testing.assert_array_equal(np.asarray(opened(answer.json()["data"][0])), np.asarray(expected))
        assert [running.figure("triptych_load_seconds_count", model=name) for name in NAMES] == [1, 1, 1]
        assert [running.figure("triptych_unloads_total", model=name) for name in NAMES] == [1, 0, 0]


def test_without_limits_all_packages_are_loaded_and_stay(folders: list[Path]) -> None:
    with service(*folders) as running:
        assert ready(running) == {*NAMES}


def test_a_busy_package_is_not_unloaded_and_no_package_starves(folders: list[Path]) -> None:
    """Images that arrived before the one that waits for room come first, those that arrived later come after it."""
    with service(*folders, loaded=PoolLimits(keep=1), wait=0.0) as running:
        order: list[str] = []

        def add(label: str, name: str, gate: Gate | None = None, **arguments: Any) -> Ticket:
            ticket = submit(running, name, gate, **arguments)
            ticket.done.add_done_callback(lambda _: order.append(label))
            return ticket

        gate = Gate()
        tickets = [add("a 1", "a", gate)]
        assert gate.reached.wait(SECONDS)
        tickets += [add("a 2", "a", num_inference_steps=3), add("b 1", "b"), add("c 1", "c"), add("a 3", "a")]
        tickets += [add("b 2", "b", num_inference_steps=3)]
        assert ready(running) == {"a"}
        assert running.figure("triptych_unloads_total", model="a") == 0
        gate.opened.set()
        for ticket in tickets:
            ticket.done.result(SECONDS)
        until(lambda: len(order) == len(tickets))
        assert order == ["a 1", "a 2", "b 1", "c 1", "a 3", "b 2"]


def test_a_package_beside_is_not_held_up_while_another_one_loads(folders: list[Path]) -> None:
    with service(*folders, loaded=PoolLimits(keep=2), wait=0.0) as running:
        gate = Gate()
        busy = submit(running, "a", gate)
        assert gate.reached.wait(SECONDS)
        submit(running, "c").done.result(SECONDS)
        assert ready(running) == {"a", "c"}, "b was idle"
        submit(running, "b").done.result(SECONDS)
        assert ready(running) == {"a", "b"}, "a is busy"
        gate.opened.set()
        busy.done.result(SECONDS)


def test_an_idle_package_is_unloaded_and_comes_back(folders: list[Path]) -> None:
    with service(*folders[:2], loaded=PoolLimits(idle=0.05)) as running:
        until(lambda: not ready(running))
        assert running.client.get("/readyz").status_code == 200
        assert running.client.post(GENERATIONS, json=BODY | {"model": "b"}).status_code == 200
        until(lambda: not ready(running))
        assert running.figure("triptych_load_seconds_count", model="b") == 2
        assert running.figure("triptych_unloads_total", model="b") == 2


def test_a_package_that_generates_longer_than_it_may_be_idle_stays(folders: list[Path]) -> None:
    with service(folders[0], loaded=PoolLimits(idle=0.05)) as running:
        gate = Gate()
        ticket = submit(running, "a", gate)
        assert gate.reached.wait(SECONDS)
        time.sleep(0.2)
        assert ready(running) == {"a"}
        gate.opened.set()
        ticket.done.result(SECONDS)


def test_a_memory_limit_holds_for_the_estimates_of_all_loaded_packages(folders: list[Path]) -> None:
    size = bytes_loaded(TextToImage.load(folders[0], device="cpu").model, on_host=True, memory="fast")
    with service(*folders, loaded=PoolLimits(memory=2 * size)) as running:
        assert ready(running) == {"a", "b"}
        assert running.client.post(GENERATIONS, json=BODY | {"model": "c"}).status_code == 200
        assert ready(running) == {"b", "c"}
    with pytest.raises(ArgumentError, match=r"^a needs .* GiB .*; allowed: .* GiB \(--max-memory\)$"):
        Service(*folders, loaded=PoolLimits(memory=size - 1))


@pytest.mark.parametrize("fails", [False, True], ids=["images", "errors"])
def test_an_unloaded_pipeline_is_freed(folders: list[Path], fails: bool) -> None:
    """Errors keep the frames in which they were raised; they must not keep graphs."""
    with service(*folders[:2], loaded=PoolLimits(keep=1)) as running:
        seen: list[weakref.ref[TextToImage]] = []

        class Keeping(Gate):
            def __call__(self, pipe: TextToImage, step: Any, row: int) -> None:
                seen.append(weakref.ref(pipe))
                if fails:
                    raise ArgumentError("an error")

        ticket = submit(running, "a", Keeping())
        assert (ticket.done.exception(SECONDS) is not None) == fails
        del ticket
        submit(running, "b").done.result(SECONDS)
        assert seen[0]() is None


def test_a_package_that_cannot_be_loaded_fails_its_own_requests(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [tiny_package.write(tmp_path / name) for name in NAMES[:2]]
    graph = folders[1] / "unet" / "model.onnx"
    with service(*folders, loaded=PoolLimits(keep=1)) as running:
        whole = graph.read_bytes()
        graph.write_bytes(whole[: len(whole) // 2])
        answer = running.client.post(GENERATIONS, json=BODY | {"model": "b"})
        assert error_of(answer, 503)["code"] == "load_failed"
        assert str(folders[1]) not in answer.text
        assert "b cannot be loaded: " in caplog.text
        assert states(running) == {"a": "unloaded", "b": "unloaded"}
        assert running.client.post(GENERATIONS, json=BODY).status_code == 200
        graph.write_bytes(whole)
        assert running.client.post(GENERATIONS, json=BODY | {"model": "b"}).status_code == 200


def test_a_package_that_cannot_be_loaded_at_the_start_is_an_error(tmp_path: Path) -> None:
    folder = tiny_package.write(tmp_path / "a")
    with service(folder, load=False) as running:
        shutil.rmtree(folder / "unet")
        with pytest.raises(PackageError):
            running.models.load({"device": "cpu"})


def test_a_request_that_waits_for_room_times_out(folders: list[Path]) -> None:
    with service(*folders[:2], loaded=PoolLimits(keep=1), timeout=0.2) as running:
        gate = Gate()
        busy = submit(running, "a", gate)
        assert gate.reached.wait(SECONDS)
        answer = running.client.post(GENERATIONS, json=BODY | {"model": "b"})
        assert error_of(answer, 503)["code"] == "timeout"
        gate.opened.set()
        busy.done.result(SECONDS)
        until(lambda: running.figure("triptych_cancelled_total", model="b") == 1)
        assert states(running) == {"a": "ready", "b": "unloaded"}


class Loading:
    """A pool whose loads wait until they are allowed."""

    def __init__(self, pipe: TextToImage) -> None:
        self.begun, self.allowed = threading.Event(), threading.Event()
        self.pool = Pool(PoolLimits(), Metrics())
        self.pool.start(self._load, {"tiny": 0})
        self._pipe = pipe

    def _load(self, name: str) -> TextToImage:
        self.begun.set()
        assert self.allowed.wait(SECONDS)
        return self._pipe


@pytest.fixture
def loading(pipe: TextToImage) -> Iterator[Loading]:
    made = Loading(pipe)
    yield made
    made.allowed.set()


def test_a_request_is_loading_while_its_package_is(loading: Loading, pipe: TextToImage) -> None:
    batcher = Batcher("tiny", pipe, loading.pool, Metrics(), batch=1, wait=0.0, queue=4)
    (ticket,) = batcher.submit([Request(**BASE)], [None])
    assert loading.begun.wait(SECONDS)
    assert batcher.progress(ticket).state == "loading"
    assert batcher.progress(ticket).position == 0
    loading.allowed.set()
    ticket.done.result(SECONDS)
    assert loading.pool.state_of("tiny") == "ready"
    batcher.close()
    batcher.join()


@settings(deadline=None, max_examples=20, derandomize=True, database=None)
@given(
    arrivals=st.lists(st.sampled_from(NAMES), max_size=12),
    keep=st.integers(1, 3),
)
def test_images_of_packages_that_change_places_are_all_generated(
    folders_once: list[TextToImage], arrivals: list[str], keep: int
) -> None:
    """Whatever the order, never more than `keep` packages are loaded at a time."""
    pipes = dict(zip(NAMES, folders_once, strict=True))
    loaded: set[str] = set()
    metrics = Metrics()
    pool = Pool(PoolLimits(keep=keep), metrics)
    most = 0

    def load(name: str) -> TextToImage:
        nonlocal most
        present = {each for each in NAMES if pool.state_of(each) != "unloaded"}
        most = max(most, len(present))
        loaded.add(name)
        return pipes[name]

    pool.start(load, dict.fromkeys(NAMES, 0))
    batchers = {name: Batcher(name, pipe, pool, metrics, batch=1, wait=0.0, queue=20) for name, pipe in pipes.items()}
    quick = BASE | {"num_inference_steps": 1}
    tickets = [batchers[name].submit([Request(**quick)], [None])[0] for name in arrivals]
    for ticket in tickets:
        ticket.done.result(SECONDS)
    for batcher in batchers.values():
        batcher.close()
        batcher.join()
    assert loaded == {*arrivals}
    assert most <= keep


@pytest.fixture(scope="module")
def folders_once(folders: list[Path]) -> list[TextToImage]:
    return [TextToImage.load(folder, device="cpu") for folder in folders]


def test_who_sees_a_request_fail_finds_its_package_unloaded(pipe: TextToImage) -> None:
    """The state was "loading" until the worker had let go of the package, after its clients had their answers."""

    def load(name: str) -> TextToImage:
        assert allowed.wait(SECONDS)
        raise PackageError("damaged")

    allowed, pool, seen = threading.Event(), Pool(PoolLimits(), Metrics()), list[str]()
    pool.start(load, {"tiny": 0})
    batcher = Batcher("tiny", pipe, pool, Metrics(), batch=1, wait=0.0, queue=4)
    (ticket,) = batcher.submit([Request(**BASE)], [None])
    ticket.done.add_done_callback(lambda _: seen.append(pool.state_of("tiny")))  # in the worker, before it goes on
    allowed.set()
    assert ticket.done.exception(SECONDS) is not None
    batcher.close()
    batcher.join()
    assert seen == ["unloaded"]
