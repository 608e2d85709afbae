"""benchmarks/recorded/serve_load.py runs, and its figures add up; how fast is for it to say, not for a test."""

from pathlib import Path

from triptych.benchmarks.recorded.serve_load import measure


def test_nothing_is_lost_or_made_twice_under_load(package: Path) -> None:
    figures = measure(package, "cpu", seconds=4.0, steps=2, clients=4)
    assert figures["closed"]["pictures"] >= 4
    assert figures["closed"]["per_second"] > 0
    flooded = figures["open"]
    assert flooded["asked"] == flooded["accepted"] + flooded["refused"]
    assert (flooded["other"], figures["made_beside_answered"]) == (0, 0)
