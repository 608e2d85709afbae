"""serve_soak.py runs, and every request gets its answer; figures take longer than a test."""

from pathlib import Path

from triptych.benchmarks.recorded.serve_soak import KINDS, measure


def test_everybody_is_answered_as_they_must_be(package: Path) -> None:
    figures = measure(package, "cpu", seconds=3.0, warm_up=2.0)
    assert set(figures["answers"]) == set(KINDS)
    assert all(figures["answers"].values())
    assert figures["wrong"] == 0, figures["answers"]
    assert figures["after"]["resident_mb"] > 0
