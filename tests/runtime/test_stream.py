"""Forms of a call: at once, step by step, with a progress bar and with asyncio; all give the same image."""

import asyncio
import inspect
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.runtime import Output, Step, TextToImage
from triptych.runtime.errors import ArgumentError, Cancelled

ARGUMENTS: dict[str, Any] = {"num_inference_steps": 4, "scheduler": "ddim", "seed": 7, "height": 64, "width": 64}
FORMS = ("__call__", "stream", "astream", "agenerate")


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    return TextToImage.load(package, device="cpu")


@pytest.fixture(scope="module")
def expected(pipe: TextToImage) -> Output:
    return pipe("a fox", **ARGUMENTS)


@pytest.fixture
def calls(pipe: TextToImage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Components in the order in which they run."""
    made: list[str] = []
    graphs = type(pipe._graphs)
    own = graphs.__getitem__

    def recorded(self: Any, name: str) -> Any:
        made.append(name)
        return own(self, name)

    monkeypatch.setattr(graphs, "__getitem__", recorded)
    return made


def same(output: Output, expected: Output) -> None:
    np.testing.assert_array_equal(output.latents, expected.latents)
    np.testing.assert_array_equal(np.asarray(output.images[0]), np.asarray(expected.images[0]))
    assert output.settings == expected.settings


def test_a_stream_gives_the_steps_and_then_the_image_of_the_call(pipe: TextToImage, expected: Output) -> None:
    stream = pipe.stream("a fox", **ARGUMENTS)
    steps = []
    for step in stream:
        steps.append(step.index)
        latents = step.latents
        with pytest.raises(ArgumentError, match="no result: take all of its steps"):
            _ = stream.result
    assert steps == [0, 1, 2, 3]
    np.testing.assert_array_equal(latents, expected.latents)
    same(stream.result, expected)
    assert list(stream) == []
    same(stream.result, expected)


def test_leaving_a_stream_stops_the_computation(pipe: TextToImage, calls: list[str]) -> None:
    stream = pipe.stream("a fox", **ARGUMENTS)
    assert calls == [], "nothing is computed before the first step is taken"
    for _ in stream:
        break
    assert calls == ["text_encoder", "unet"]
    stream.close()
    assert list(stream) == []
    assert calls == ["text_encoder", "unet"]
    with pytest.raises(ArgumentError, match="no result"):
        _ = stream.result
    with pipe.stream("a fox", **ARGUMENTS) as left:
        next(left)
    assert list(left) == []


@pytest.mark.parametrize("form", ["stream", "agenerate", "astream"])
def test_every_form_has_the_arguments_of_the_call(form: str) -> None:
    own, call = inspect.signature(getattr(TextToImage, form)), inspect.signature(TextToImage.__call__)
    assert own.parameters == call.parameters
    assert own.return_annotation != call.return_annotation or form == "agenerate"


def test_wrong_arguments_of_a_stream_are_found_at_once(pipe: TextToImage) -> None:
    with pytest.raises(ArgumentError, match="guidance_rescale=2; allowed"):
        pipe.stream("a fox", guidance_rescale=2)
    with pytest.raises(ArgumentError, match="height=63 must be a positive multiple"):
        pipe.stream("a fox", height=63)
    with pytest.raises(ArgumentError, match="did you mean num_inference_steps"):
        pipe.stream("a fox", num_inference_step=2)  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match="generator: use seed="):
        pipe.astream("a fox", generator=None)  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match="no prompt"):
        pipe.stream()  # type: ignore[call-arg]


def test_time_between_the_steps_of_a_stream_is_not_counted(pipe: TextToImage, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("triptych.runtime.output.time.perf_counter", lambda: float(next(clock)))
    stream = pipe.stream("a fox", **ARGUMENTS)
    for _ in stream:
        for _ in range(1000):  # a slow caller
            next(clock)
    assert stream.result.timings["total"] < 1000


def test_the_progress_bar_counts_the_steps_on_stderr(pipe: TextToImage, capsys: pytest.CaptureFixture[str]) -> None:
    pipe("a fox", **ARGUMENTS)
    assert capsys.readouterr() == ("", "")
    pipe("a fox", **ARGUMENTS, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "4/4" in err
    for step in pipe.stream("a fox", **ARGUMENTS, progress=True):
        if step.index == 1:
            break
    assert "2/4" in capsys.readouterr().err


def test_a_task_gives_the_image_of_the_call(pipe: TextToImage, expected: Output) -> None:
    seen: list[int] = []
    same(asyncio.run(pipe.agenerate("a fox", **ARGUMENTS, callback=lambda step: seen.append(step.index))), expected)
    assert seen == [0, 1, 2, 3]


def test_steps_come_while_the_event_loop_goes_on(pipe: TextToImage, expected: Output) -> None:
    async def draw() -> tuple[list[int], Output, int]:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        stream = pipe.astream("a fox", **ARGUMENTS)
        with pytest.raises(ArgumentError, match="no result"):
            _ = stream.result
        steps = [step.index async for step in stream]
        beside.cancel()
        assert [step async for step in stream] == []
        await stream.aclose()
        return steps, stream.result, turns

    steps, output, turns = asyncio.run(draw())
    assert steps == [0, 1, 2, 3]
    same(output, expected)
    assert turns > len(steps)


def test_cancelling_a_task_stops_after_the_step(pipe: TextToImage, calls: list[str]) -> None:
    async def draw() -> None:
        reached, cancelled = threading.Event(), threading.Event()

        def wait(step: Step) -> None:
            if step.index == 1:
                reached.set()
                assert cancelled.wait(60)

        task = asyncio.create_task(pipe.agenerate("a fox", **ARGUMENTS, callback=wait))
        assert await asyncio.to_thread(reached.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(draw())
    assert calls == ["text_encoder", "unet", "unet"]


def test_leaving_an_asynchronous_stream_stops_the_computation(pipe: TextToImage, calls: list[str]) -> None:
    async def draw() -> None:
        async with pipe.astream("a fox", **ARGUMENTS) as stream:
            async for _ in stream:
                break
        assert [step async for step in stream] == []

    asyncio.run(draw())
    assert calls == ["text_encoder", "unet"]


def test_errors_of_a_thread_reach_the_task(pipe: TextToImage) -> None:
    with pytest.raises(ArgumentError, match="guidance_rescale=2; allowed"):
        asyncio.run(pipe.agenerate("a fox", guidance_rescale=2))
    with pytest.raises(Cancelled, match="cancelled after step 1 of 4"):
        asyncio.run(pipe.agenerate("a fox", **ARGUMENTS, callback=lambda step: False))
