"""Time and peak memory of an export, in a process of its own, with what its verification found.

    python benchmarks/export_cost.py SOURCE PACKAGE --precision fp32 --json benchmarks/results/export-sd15.json

One entry per precision is added to the JSON file:

    {"machine": {"cpu", "cores", "memory_gb"}, "runs": {"fp32": {"date", "seconds", "cpu_seconds", "load_before",
     "weights_gb", "peak_rss_gb", "peak_over_weights", "versions", "components": {NAME: {"parameters", "macs", "db",
     "max_abs_error", "seconds"}}}}}

`weights_gb` counts every parameter once in fp32 (10^9 bytes). Wall time means little when `load_before` (processes that
wanted the processor in the minute before) is not near zero; `cpu_seconds` is what the export itself took of all cores.
"""

import argparse
import datetime
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from triptych.benchmarks.machine import cpu_model

_EXPORT = """
import sys
from triptych.export import export
export(sys.argv[1], sys.argv[2], precision=sys.argv[3], force=True, report=lambda line: print(line, flush=True))
"""


def measure(source: Path, package: Path, precision: str) -> dict[str, Any]:
    """Export and return the entry described above."""
    load_before = os.getloadavg()[0]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _EXPORT, str(source), str(package), precision],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
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
    for name, took in re.findall(r"^(\w+): .* (\d+) s$", done.stdout, flags=re.MULTILINE):
        components[name]["seconds"] = int(took)
    weights = 4 * sum(facts["parameters"] for facts in components.values()) / 1e9
    peak = used.ru_maxrss * 1024 / 1e9
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "load_before": round(load_before, 2),
        "weights_gb": round(weights, 2),
        "peak_rss_gb": round(peak, 2),
        "peak_over_weights": round(peak / weights, 2),
        "versions": manifest["versions"],
        "components": components,
    }


def machine() -> dict[str, Any]:
    """This machine's processor, cores that may be used, and memory in GB (10^9 bytes)."""
    memory = psutil.virtual_memory().total
    return {"cpu": cpu_model(), "cores": os.cpu_count(), "memory_gb": round(memory / 1e9, 1)}


def main() -> None:
    """Read the command line, measure, and write the entry."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("package", type=Path, metavar="PACKAGE")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    given = parser.parse_args()
    entry = measure(given.source, given.package, given.precision)
    results = json.loads(given.json.read_text()) if given.json.exists() else {"runs": {}}
    results["machine"] = machine()
    results["runs"][given.precision] = entry
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(entry))


if __name__ == "__main__":
    main()
