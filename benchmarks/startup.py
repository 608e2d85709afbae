"""What it costs to start: importing the runtime, `triptych --help`, and the environment on disk.

    python benchmarks/startup.py [--json FILE]

Each figure is the median of several fresh processes, alternating, so that a busy machine slows both alike.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
NEEDED = "import numpy, onnxruntime"


def seconds(*command: str | Path) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    triptych = Path(sys.executable).with_name("triptych")
    commands = {
        "import numpy, onnxruntime": (sys.executable, "-c", NEEDED),
        "the same and triptych.runtime": (sys.executable, "-c", f"{NEEDED}, triptych.runtime"),
        "triptych --help": (triptych, "--help"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            times[name].append(seconds(*command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    needed, with_runtime, _ = medians.values()
    figures = {"seconds": medians, "runtime_adds_seconds": with_runtime - needed, "runs": RUNS}
    for name, value in medians.items():
        print(f"{name:32} {value * 1000:7.0f} ms")
    print(f"{'importing triptych.runtime adds':32} {(with_runtime - needed) * 1000:7.0f} ms")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
