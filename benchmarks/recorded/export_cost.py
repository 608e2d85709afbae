"""Time and peak memory of an export in a process of its own, with the results of its verification.

    python benchmarks/recorded/export_cost.py SOURCE PACKAGE --precision fp32
        --json benchmarks/recorded/results/export-sd15.json

One entry per precision is added to the JSON file:

    {"machine": {"cpu", "cores", "memory_gb"}, "runs": {"fp32": {"date", "seconds", "cpu_seconds", "load_before",
     "weights_gb", "peak_rss_gb", "peak_anonymous_gb", "peak_over_weights", "versions", "components": {NAME:
     {"parameters", "macs", "db", "max_abs_error", "seconds", "peak_anonymous_gb"}}}}}

`weights_gb` counts every parameter once in the precision (10^9 bytes). Peaks are of resident memory, with and without
pages of files, which the system can reclaim; `peak_over_weights` is that of the first. Wall time means little unless
`load_before` (the load average of the minute before) is near zero; `cpu_seconds` is the processor time of the export on
all cores. Linux only.
"""

import argparse
import datetime
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from triptych.benchmarks.machine import cpu_model
from triptych.benchmarks.memory import anonymous_bytes
from triptych.export.precision import precision_named

_LOOK_SECONDS = 0.02

_EXPORT = """
import sys
from triptych.export import export
export(sys.argv[1], sys.argv[2], precision=sys.argv[3], force=True, report=lambda line: print(line, flush=True))
"""


def measure(source: Path, package: Path, precision: str) -> dict[str, Any]:
    """Export, and return the entry described above."""
    load_before = os.getloadavg()[0]
    start = time.perf_counter()
    command = [sys.executable, "-c", _EXPORT, str(source), str(package), precision]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines, peaks = _watched(process)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    manifest = json.loads((package / "triptych.json").read_text())
    components = {
        name: {
            "parameters": facts["parameters"],
            "macs": facts["macs"],
            "db": round(facts["parity"]["db"], 1),
            "max_abs_error": facts["parity"]["max_abs_error"],
        }
        for name, facts in manifest["components"].items()
    }
    for line, most in zip(lines, peaks, strict=True):
        if found := re.fullmatch(r"(\w+): .* (\d+) s", line):
            components[found[1]] |= {"seconds": int(found[2]), "peak_anonymous_gb": round(most / 1e9, 2)}
    size = precision_named(precision).dtype.itemsize
    weights = size * sum(facts["parameters"] for facts in components.values()) / 1e9
    peak = used.ru_maxrss * 1024 / 1e9
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "load_before": round(load_before, 2),
        "weights_gb": round(weights, 2),
        "peak_rss_gb": round(peak, 2),
        "peak_anonymous_gb": round(max(peaks) / 1e9, 2),
        "peak_over_weights": round(peak / weights, 2),
        "versions": manifest["versions"],
        "components": components,
    }


def _watched(process: subprocess.Popen[str]) -> tuple[list[str], list[int]]:
    """Lines that a process prints, and its peak of anonymous memory between one line and the next."""
    most, lines, peaks = [0], [], []

    def look() -> None:
        while process.poll() is None:
            most[0] = max(most[0], anonymous_bytes(process.pid) or 0)
            time.sleep(_LOOK_SECONDS)

    threading.Thread(target=look, daemon=True).start()
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.rstrip())
        peaks.append(most[0])
        most[0] = 0
    process.wait()
    return lines, peaks


def machine() -> dict[str, Any]:
    """Processor, cores and memory in GB (10^9 bytes) of this machine."""
    memory = psutil.virtual_memory().total
    return {"cpu": cpu_model(), "cores": os.cpu_count(), "memory_gb": round(memory / 1e9, 1)}


def main() -> None:
    """Read the command line, measure, and write the entry."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("package", type=Path, metavar="PACKAGE")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    entry = measure(arguments.source, arguments.package, arguments.precision)
    results = json.loads(arguments.json.read_text()) if arguments.json.exists() else {"runs": {}}
    results["machine"] = machine()
    results["runs"][arguments.precision] = entry
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(entry))


if __name__ == "__main__":
    main()
