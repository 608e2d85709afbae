"""Seconds and memory of each component of a large model, with one graph in memory at a time, as with `--memory low`.

    python benchmarks/recorded/phase_cost.py PACKAGE --side 512 --json benchmarks/recorded/results/export-sdxl.json

Each component runs in a process of its own, for an image of side x side pixels: `load_seconds`, and `call_seconds` of
one call (of the denoiser with both halves of guidance); `peak_bytes` is resident memory, `anonymous_bytes` is without
pages of mapped files, which the system can reclaim. Added to FILE under "phases". CPU and Linux only.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from triptych.benchmarks.components import inputs_of
from triptych.benchmarks.machine import cpu_model, versions
from triptych.benchmarks.memory import reset_peak
from triptych.benchmarks.recorded.memory_policy import Figures, watched
from triptych.runtime import TextToImage
from triptych.runtime.footprint import give_back
from triptych.runtime.ort.device import open_device
from triptych.runtime.package.graphs import Components
from triptych.runtime.package.package import open_package


def component_inputs(package: Path, side: int) -> dict[str, dict[str, np.ndarray]]:
    """Inputs of each component."""
    return inputs_of(TextToImage.load(package, "cpu", memory="low"), side, side)


def phase(package: Path, name: str, inputs: dict[str, np.ndarray]) -> Figures:
    """Load a component and call it once."""
    graphs = Components(open_package(package), open_device("cpu"), (), "low")
    figures: Figures = {}
    give_back()
    reset_peak()
    with watched(figures):
        start = time.perf_counter()
        graph = graphs[name]
        loaded = time.perf_counter()
        (output, *_) = graph(inputs).values()
        done = time.perf_counter()
    figures |= {"load_seconds": loaded - start, "call_seconds": done - loaded, "shape": list(output.shape)}
    return figures | {"finite": bool(np.isfinite(output).all())}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    opened = open_package(arguments.package)

    def alone(function: Callable[..., Any], *values: Any) -> Any:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            return process.submit(function, *values).result()

    inputs = alone(component_inputs, arguments.package, arguments.side)
    measured: dict[str, Figures] = {}
    for name in inputs:
        measured[name] = {"bytes": opened.bytes_of(name)} | alone(phase, arguments.package, name, inputs[name])
        print(name, json.dumps(measured[name]), flush=True)
    result = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    about = {"date": datetime.now(UTC).date().isoformat(), "cpu": cpu_model(), "versions": versions()}
    result["phases"] = about | {"side": arguments.side, "components": measured}
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
