"""One graph with one set of provider options, in a process of its own: a crash costs one figure.

python -m triptych.benchmarks.gpu.measure '{"graph": PATH, "options": {...}, "keep": PATH, "compare": PATH}'

The last line of stdout is the result as JSON. `keep` writes the outputs to a file, `compare` compares them with
the outputs of such a file.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import graphs, kit

MOST_SECONDS = 150.0
"""Time limit of one measurement: a slow search for algorithms must not cost the stage."""


def measure(
    graph: Path, options: Mapping[str, str], *, keep: Path | None = None, compare: Path | None = None
) -> dict[str, Any]:
    """Run this module in a process of its own.

    Raises:
        RuntimeError: the process failed, or took too long.
    """
    request = {"graph": str(graph), "options": dict(options)}
    request |= {key: str(path) for key, path in (("keep", keep), ("compare", compare)) if path is not None}
    command = [sys.executable, "-m", __spec__.name, json.dumps(request)]
    seconds = max(5.0, min(MOST_SECONDS, kit.seconds_left()))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"took more than {seconds:.0f} s") from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise RuntimeError(f"exit status {done.returncode}: {lines[-1] if lines else 'nothing on stderr'}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure in this process, and print the result."""
    request = json.loads(sys.argv[1])
    before = graphs.used_bytes()
    start = time.perf_counter()
    session = graphs.open_session(Path(request["graph"]), request["options"])
    loaded = time.perf_counter()
    bound = graphs.Bound(session, graphs.random_inputs(session))
    bound.launch()
    bound.wait()
    result: dict[str, Any] = {"load": loaded - start, "first": time.perf_counter() - loaded} | bound.seconds()
    outputs = bound.outputs()
    if "keep" in request:
        np.savez(request["keep"], allow_pickle=False, **outputs)
    if "compare" in request:
        with np.load(request["compare"]) as kept:
            result["db"] = graphs.decibels(outputs, dict(kept))
    after = graphs.used_bytes()
    if before is not None and after is not None:
        result["bytes"] = after - before
    print(json.dumps(result))


if __name__ == "__main__":
    main()
