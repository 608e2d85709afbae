"""The parts of the bench that need no package."""

import math
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.benchmarks import matmul
from triptych.benchmarks.components import macs_at
from triptych.benchmarks.files import write_whole
from triptych.benchmarks.matmul import measure_matrix_product, product_flops
from triptych.benchmarks.measure import AT_LEAST, AT_MOST, time_calls
from triptych.benchmarks.memory import peak_bytes, reset_peak, resident_bytes
from triptych.benchmarks.table import seconds
from triptych.runtime.errors import ArgumentError
from triptych.runtime.ort.device import open_device
from triptych.runtime.package.manifest import ComponentRecord

TOLERANCE = 4 << 20  # bytes; the system counts pages in steps


class Clock:
    """A clock that only the timed call moves."""

    def __init__(self, durations: Iterator[float]) -> None:
        self.now, self.durations = 1000.0, durations

    def __call__(self) -> float:
        return self.now

    def call(self) -> None:
        self.now += next(self.durations)


@given(first=st.floats(0, 100), warm=st.lists(st.floats(0.001, 20), min_size=AT_MOST, max_size=AT_MOST))
def test_the_statistics_are_those_of_the_warm_calls(first: float, warm: list[float]) -> None:
    clock = Clock(iter([first, *warm]))
    latency = time_calls(clock.call, seconds=10, clock=clock)
    used = warm[: latency.calls]
    assert latency.first_seconds == pytest.approx(first, abs=1e-9)
    assert latency.median_seconds == pytest.approx(np.median(used), abs=1e-9)
    assert latency.best_seconds <= latency.median_seconds <= latency.p90_seconds
    assert latency.p90_seconds == pytest.approx(np.percentile(used, 90), abs=1e-9)
    assert AT_LEAST <= latency.calls <= AT_MOST


@pytest.mark.parametrize(("duration", "calls"), [(60.0, AT_LEAST), (1.0, 10), (1e-6, AT_MOST)])
def test_slow_calls_are_few_and_fast_ones_bounded(duration: float, calls: int) -> None:
    clock = Clock(iter([duration] * 1000))
    assert time_calls(clock.call, seconds=10, clock=clock).calls == calls


def test_flops_of_the_matrix_product(monkeypatch: pytest.MonkeyPatch) -> None:
    assert product_flops(10, 3) == 6000
    monkeypatch.setattr(matmul, "_ON_CPU", (48, 2))
    monkeypatch.setattr(matmul, "_SECONDS", 0.0)
    for dtype in (np.float32, np.float16):
        product = measure_matrix_product(open_device("cpu"), np.dtype(dtype))
        assert (product.size, product.dtype) == (48, np.dtype(dtype).name)
        assert math.isfinite(product.flops_per_second)
        assert product.flops_per_second > 0


RECORD = ComponentRecord(macs=700, default_shape={"sample": (1, 4, 16, 24), "timestep": (), "states": (1, 77, 44)})


@pytest.mark.parametrize(
    ("sample", "states", "macs"),
    [
        ([1, 4, 16, 24], [1, 77, 44], 700),
        ([2, 4, 16, 24], [2, 77, 44], 1400),
        ([3, 4, 16, 24], [2, 77, 44], None),  # no one batch
        ([2, 4, 24, 16], [2, 77, 44], None),  # as many pixels, but nobody counted them
        ([2, 4, 16, 24], [2, 154, 44], None),
    ],
)
def test_macs_grow_with_the_batch_and_are_unknown_at_other_sizes(
    sample: list[int], states: list[int], macs: int | None
) -> None:
    assert macs_at(RECORD, {"sample": sample, "timestep": [], "states": states}) == macs


def test_macs_that_nobody_counted_are_unknown() -> None:
    assert macs_at(ComponentRecord(), {"sample": [1, 4, 16, 24]}) is None
    assert macs_at(ComponentRecord(macs=5), {"sample": [1, 4, 16, 24]}) is None
    assert macs_at(RECORD, {"sample": [1, 4, 16, 24]}) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_the_peak_is_that_since_it_was_reset() -> None:
    size = 64 << 20
    assert reset_peak()
    before = peak_bytes()
    with mmap.mmap(-1, size) as block:  # given back to the system for certain, as memory of the heap is not
        block.write(bytes([1]) * size)
        held = resident_bytes()
    after = peak_bytes()
    assert reset_peak()
    reset = peak_bytes()
    assert before is not None
    assert after is not None
    assert reset is not None
    assert after >= max(held - TOLERANCE, before + size // 2)
    assert reset < after - size // 2


def test_a_file_is_written_whole_or_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"old")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArgumentError, match="No space left"):
        write_whole(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("value", "text"), [(12.345, "12.35 s"), (1234.5, "1,234.50 s"), (0.0521, "52.1 ms"), (0.00021, "0.21 ms")]
)
def test_durations_read_well(value: float, text: str) -> None:
    assert seconds(value) == text
