"""benchmarks/recorded/spinning.py runs; how much it is, is for it to say."""

from pathlib import Path

from triptych.benchmarks.recorded.spinning import TURN, measure


def test_both_settings_generate_as_many_images(package: Path) -> None:
    figures = measure(package, TURN)
    assert figures["pictures"] == 2 * (TURN - 1)
    assert figures["ratio"] > 0
