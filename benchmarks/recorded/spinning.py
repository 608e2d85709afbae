"""Cost of threads that spin after a graph's run, while the threads of another graph need their cores.

    python benchmarks/recorded/spinning.py PACKAGE [--pictures N] [--json FILE]

Images with `session.force_spinning_stop`, the runtime's default, and without it, ONNX Runtime's default, several images
of each in turn. In a pause between two turns all threads become idle.

    {"date", "package", "versions", "machine", "pictures", "seconds": {"stops", "spins"}, "ratio"}

Seconds are the median of an image; the ratio is that with stops over that without. Needs `triptych[bench]`.
"""

import argparse
import json
import statistics
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from triptych.benchmarks.components import PROMPT
from triptych.benchmarks.machine import describe_machine, versions
from triptych.runtime import TextToImage

STOP = "session.force_spinning_stop"
STEPS, TURN, PAUSE = 20, 6, 0.5  # images of a turn, of which the first is not counted; seconds


def measure(package: Path, images: int) -> dict[str, Any]:
    """All figures; see the top of the file."""
    pipes = {
        name: TextToImage.load(package, device="cpu", session_options={STOP: value})
        for name, value in (("stops", "1"), ("spins", "0"))
    }
    seconds: dict[str, list[float]] = {name: [] for name in pipes}
    while len(seconds["spins"]) < images:
        for name, pipe in pipes.items():
            time.sleep(PAUSE)
            turn = [pipe(PROMPT, num_inference_steps=STEPS, seed=0).timings["total"] for _ in range(TURN)]
            seconds[name] += turn[1:]
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "package": package.resolve().name,
        "versions": versions(),
        "machine": asdict(describe_machine(pipes["stops"].device)),
        "pictures": len(seconds["spins"]),
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "ratio": round(medians["stops"] / medians["spins"], 3),
    }


def main() -> None:
    """Measure, print, and write to the file given by --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    text = json.dumps(measure(arguments.package, arguments.pictures), indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
