"""Cost of a start: importing the runtime, `triptych --help`, and the size of the environment.

    python benchmarks/recorded/startup.py [--json FILE]

Each time is the median of several fresh processes, alternating, so that a busy machine slows both alike. The
environment holds only `triptych[cpu]` and pip.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from triptych.benchmarks.files import weight_mb

RUNS = 15
REPOSITORY = Path(__file__).parents[2]
NEEDED = "import numpy, onnxruntime"


def seconds(*command: str | Path) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def environment_mb() -> float:
    """Megabytes of a new environment after `pip install triptych[cpu]`."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "venv")
        venv.create(home, with_pip=True)
        pip = (home / "bin" / "pip", "install", "-q", "--disable-pip-version-check")
        subprocess.run([*pip, "-c", REPOSITORY / "constraints.txt", f"{REPOSITORY}[cpu]"], check=True)
        return weight_mb(home)


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
    weight = environment_mb()
    figures = {
        "seconds": medians,
        "runtime_adds_seconds": with_runtime - needed,
        "runs": RUNS,
        "environment_mb": weight,
    }
    for name, value in medians.items():
        print(f"{name:32} {value * 1000:7.0f} ms")
    print(f"{'importing triptych.runtime adds':32} {(with_runtime - needed) * 1000:7.0f} ms")
    print(f"{'environment of triptych[cpu]':32} {weight:7.0f} MB")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
