"""All work on a CUDA device is done in one thread: shown on the CPU, whose device is given such a thread."""

import multiprocessing
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.runtime import TextToImage
from triptych.runtime.errors import ProviderError
from triptych.runtime.ort.device import Device
from triptych.runtime.ort.device_thread import DeviceThread, Owned
from triptych.runtime.ort.library import ort
from triptych.runtime.request import Request


class Resource:
    """An object that notes the thread in which it is freed."""

    def __init__(self) -> None:
        self.freed_in: list[int] = []
        weakref.finalize(self, lambda notes: notes.append(threading.get_ident()), self.freed_in)


def test_functions_run_in_one_thread_whoever_calls() -> None:
    thread = DeviceThread("cuda:0")
    with ThreadPoolExecutor(4) as callers:
        idents = {thread.call(threading.get_ident), *callers.map(lambda _: thread.call(threading.get_ident), range(8))}
    assert len(idents) == 1
    assert threading.get_ident() not in idents


def test_results_and_errors_are_those_of_the_function() -> None:
    thread = DeviceThread("cuda:0")
    assert thread.call(divmod, 7, 2) == (3, 1)
    assert thread.call(int, "ff", base=16) == 255
    with pytest.raises(ZeroDivisionError):
        thread.call(divmod, 1, 0)


def test_a_call_within_the_thread_is_an_ordinary_call() -> None:
    thread = DeviceThread("cuda:0")
    assert thread.call(lambda: thread.call(threading.get_ident)) == thread.call(threading.get_ident)


def test_calls_are_done_in_the_order_in_which_they_arrive() -> None:
    thread, ready = DeviceThread("cuda:0"), threading.Event()
    seen: list[int] = []
    with ThreadPoolExecutor(1) as caller:
        caller.submit(thread.call, ready.wait)
        thread.clear([])
        ready.set()
        for number in range(5):
            thread.call(seen.append, number)
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_told_so() -> None:
    thread = DeviceThread("cuda:0")
    thread.call(int)

    def child(answers: Any) -> None:
        try:
            thread.call(int)
        except ProviderError as error:
            answers.put(str(error))

    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=child, args=(answers,))
    process.start()
    assert answers.get(timeout=60) == (
        "cuda:0 belongs to the process that was forked; start processes with the method spawn"
    )
    process.join()


def test_an_owned_object_is_freed_in_the_thread() -> None:
    thread = DeviceThread("cuda:0")
    owned = Owned(Resource(), thread)
    freed_in = owned.value.freed_in
    del owned
    assert freed_in == [thread.call(threading.get_ident)]


def test_without_a_thread_an_owned_object_is_freed_at_once() -> None:
    owned = Owned(Resource(), None)
    freed_in = owned.value.freed_in
    del owned
    assert freed_in == [threading.get_ident()]


_CALLS = (
    (ort.InferenceSession, "__init__"),
    (ort.InferenceSession, "run"),
    (ort.InferenceSession, "run_with_iobinding"),
    (ort.OrtValue, "numpy"),
    (ort.OrtValue, "update_inplace"),
    (ort.IOBinding, "__init__"),
    (ort.IOBinding, "bind_input"),
    (ort.IOBinding, "synchronize_outputs"),
)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, set[int]]]:
    """Threads from which ONNX Runtime is used, by method, of devices that have a thread of their own."""
    thread, used = DeviceThread("cuda:0"), {name: set[int]() for _, name in _CALLS}
    monkeypatch.setattr(Device, "_thread", property(lambda device: thread))

    def noting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            used[name].add(threading.get_ident())
            return original(*arguments, **named)

        return call

    for owner, name in _CALLS:
        monkeypatch.setattr(owner, name, noting(name, getattr(owner, name)))
    yield used
    assert used["__init__"] == {thread.call(threading.get_ident)}


def test_all_of_an_image_is_computed_in_the_thread(package: Path, threads: dict[str, set[int]]) -> None:
    pipe = TextToImage.load(package, device="cpu")
    pipe._bound = True

    def draw(seed: int) -> np.ndarray:
        return pipe(
            "a red fox", num_inference_steps=3, seed=seed, callback=lambda step: step.latents is not None
        ).latents

    alone = [draw(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as callers:
        together = list(callers.map(draw, range(3)))
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert all(len(idents) == 1 for idents in threads.values()), threads


def test_steps_may_be_requested_from_any_thread(package: Path, threads: dict[str, set[int]]) -> None:
    pipe = TextToImage.load(package, device="cpu")
    pipe._bound = True
    plan = pipe.plan(Request("a red fox", num_inference_steps=4, seed=0))
    conditioning = pipe.encode(["a red fox", ""])
    positive, negative = ({name: array[row : row + 1] for name, array in conditioning.items()} for row in (0, 1))
    noise = np.zeros((1, pipe.model.latents.channels, 8, 8), np.float32)
    steps = pipe.denoise(positive, negative, noise, plan.sampler)
    for _ in range(len(plan.sampler)):
        with ThreadPoolExecutor(1) as caller:
            caller.submit(next, steps).result()
    assert all(len(idents) == 1 for idents in threads.values()), threads
