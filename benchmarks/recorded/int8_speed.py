"""Time of a denoiser call in int8 and in fp32, alternating, on this processor.

    python benchmarks/recorded/int8_speed.py INT8 FP32 --json FILE [--rounds 5]
    python -m tests.processors avx2 python benchmarks/recorded/int8_speed.py INT8 FP32 --json FILE

INT8 and FP32 are packages of one checkpoint, exported for this processor; the second line emulates one without VNNI. A
call is one row at the checkpoint's default size. FILE has a measurement for each kind of processor; a run replaces one:

    {"avx512-vnni": {"date", "cpu", "rounds", "int8_seconds", "fp32_seconds", "ratio"}, ...}

Seconds are medians; the ratio is the median of the ratios of all rounds.
"""

import argparse
import datetime
import json
import time
from pathlib import Path
from statistics import median

import numpy as np

from triptych.benchmarks.machine import cpu_model
from triptych.runtime.ort.blocking import channels_block
from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.saturation import saturates
from triptych.runtime.package.graphs import load_graph
from triptych.runtime.package.package import Package, open_package


def processor() -> str:
    """Kind of this processor for ONNX Runtime's kernels."""
    width = {16: "avx512", 8: "avx2"}.get(channels_block(), "other")
    return width if saturates() else f"{width}-vnni"


def inputs_of(package: Package) -> dict[str, np.ndarray]:
    """Random inputs of the denoiser, one row at the checkpoint's default size."""
    random = np.random.default_rng(0)
    shapes = package.manifest.component("unet").default_shape
    assert shapes is not None
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def measure(int8: Path, fp32: Path, rounds: int) -> dict[str, object]:
    """Medians of both, alternating, after a warm-up call of each."""
    packages = {"int8": open_package(int8), "fp32": open_package(fp32)}
    graphs = {name: load_graph(package, open_device("cpu"), "unet") for name, package in packages.items()}
    inputs = inputs_of(packages["fp32"])
    seconds: dict[str, list[float]] = {name: [] for name in graphs}
    for index in range(rounds + 1):
        for name, graph in graphs.items():
            start = time.perf_counter()
            graph(inputs)
            if index:
                seconds[name].append(time.perf_counter() - start)
    ratios = [ours / theirs for ours, theirs in zip(seconds["int8"], seconds["fp32"], strict=True)]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "rounds": rounds,
        **{f"{name}_seconds": round(median(taken), 4) for name, taken in seconds.items()},
        "ratio": round(median(ratios), 3),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("int8", type=Path)
    parser.add_argument("fp32", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    recorded = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    recorded[processor()] = measure(arguments.int8, arguments.fp32, arguments.rounds)
    arguments.json.write_text(json.dumps(recorded, indent=2) + "\n")
    print(json.dumps(recorded[processor()]))
