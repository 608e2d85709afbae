"""benchmarks/recorded/loop.py runs; how fast is for it to say, not for a test."""

import runpy
from pathlib import Path

LOOP = Path(__file__).parents[3] / "benchmarks" / "recorded" / "loop.py"


def test_the_loop_is_measured_beside_that_of_diffusers() -> None:
    module = runpy.run_path(str(LOOP))
    for name in module["NAMES"]:
        figures = module["measure"](name, repeats=1)
        assert figures["calls"] >= module["STEPS"]
        assert figures["microseconds"] > 0
        assert figures["diffusers_microseconds"] > 0
