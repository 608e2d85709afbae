"""Time and memory of images, told before long work."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import run
from triptych.runtime import Step, TextToImage
from triptych.runtime.cli import estimate
from triptych.runtime.cli.estimate import TimeEstimate, duration, memory_line
from triptych.runtime.plan import Plan
from triptych.runtime.request import Request

GIB = 2**30


@pytest.fixture
def steps(package: Path) -> list[Step]:
    """The steps of an image."""
    seen: list[Step] = []
    pipe = TextToImage.load(package, device="cpu")
    pipe("a fox", num_inference_steps=20, scheduler="ddim", height=64, width=64, callback=seen.append)
    return seen


def ticks(*seconds: float) -> Iterator[float]:
    return iter(seconds)


def lines(steps: list[Step], runs: int, seconds: float) -> list[str]:
    """Lines of an estimate, where a step takes so long."""
    times = ticks(100.0, 100.0 + seconds)
    made = TimeEstimate(runs, 2 * runs, clock=lambda: next(times))
    return [line for step in steps for line in [made.after(step)] if line is not None]


def test_long_work_is_told_after_the_second_step(steps: list[Step]) -> None:
    assert lines(steps, 10, 1.5) == ["about 5 min for 20 images: 10 x 20 steps of 1.5 s"]
    assert lines(steps, 1, 3.5) == ["about 63 s for 2 images: 20 steps of 3.5 s"]
    assert lines(steps, 1, 3) == []
    assert lines(steps[:1], 1000, 3) == []


@pytest.mark.parametrize(("seconds", "text"), [(61, "61 s"), (240, "4 min"), (5900, "98 min"), (9000, "2.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def large_plan(package: Path) -> Plan:
    """The plan of a large image."""
    pipe = TextToImage.load(package, device="cpu", memory="low")
    return pipe.plan(Request("a fox", height=16384, width=8192))


def test_memory_is_told_where_it_is_large(large_plan: Plan, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = TextToImage.load(package, device="cpu", memory="low").plan(Request("a fox"))
    assert memory_line(small, "fast") is None
    monkeypatch.setattr(estimate, "bytes_available", lambda: 1024 * GIB)
    line = memory_line(large_plan, "fast")
    assert line is not None
    assert re.fullmatch(r"about \d+\.\d GiB of memory, of 1024\.0 GiB", line)
    monkeypatch.setattr(estimate, "bytes_available", lambda: GIB)
    assert ": it may not fit; --memory low takes about 0." in str(memory_line(large_plan, "fast"))
    assert memory_line(large_plan, "low") is None, "it is decoded in tiles"


def test_the_command_tells_both(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "LONG", 0.0)
    monkeypatch.setattr(estimate, "LARGE", 0)
    command = ("generate", package, "a fox", "an owl", "--steps", 3, "--device", "cpu", "--out", tmp_path, "--json")
    status, out, err = run(*command, capsys=capsys)
    assert status == 0
    assert [json.loads(line)["settings"]["prompt"] for line in out.splitlines()] == ["a fox", "an owl"]
    assert " GiB of memory, of " in err.splitlines()[0]
    assert sum(" for 2 images: " in line for line in err.splitlines()) == 1
