"""Size on disk and memory of each extra: a fresh environment for each, with what `pip` installs there.

    python benchmarks/recorded/extras.py [--json FILE] [NAME ...]

NAMEs are extras as pip reads them, such as cpu,serve; all that are listed here if none is given. The environment has
pip itself. Memory is the peak of a process that has imported what the extra is for. Results that FILE has of other
extras stay.
"""

import argparse
import json
import subprocess
import tempfile
import venv
from pathlib import Path

from triptych.benchmarks.files import weight_mb

REPOSITORY = Path(__file__).parents[2]
RUNTIME = "import triptych.runtime.pipeline; from triptych.runtime.ort.library import ort; ort.__version__"
IMPORTS = {
    "": "import triptych.runtime.pipeline",
    "cpu": RUNTIME,
    "openvino": RUNTIME,
    "cuda": RUNTIME,
    "cpu,serve": f"{RUNTIME}; import triptych.runtime.service.server",
    "cpu,bench": f"{RUNTIME}; import triptych.benchmarks.bench",
    "cpu,parquet": f"{RUNTIME}; import triptych.runtime.batch.parquet",
    "cpu,ray": f"{RUNTIME}; import triptych.runtime.batch.ray_engine",
    "cpu,export": f"{RUNTIME}; from triptych.export import export",
}
"""Extras -> what a process imports of them."""

PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)"  # MB on Linux


def measure(extras: str) -> dict[str, float | str | None]:
    """Install Triptych with some extras; megabytes on disk and of memory, and PyTorch's version or None."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "venv")
        venv.create(home, with_pip=True)
        python = home / "bin" / "python"
        target = f"{REPOSITORY}[{extras}]" if extras else str(REPOSITORY)
        pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c")
        subprocess.run((*pip, REPOSITORY / "constraints.txt", target), check=True)
        disk = weight_mb(home)
        peak = subprocess.run([python, "-c", f"{IMPORTS[extras]}; {PEAK}"], check=True, capture_output=True, text=True)
        version = "from importlib.metadata import version; print(version('torch'))"
        torch = subprocess.run([python, "-c", version], check=False, capture_output=True, text=True).stdout.strip()
        return {"disk_mb": disk, "memory_mb": float(peak.stdout), "torch": torch or None}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    before = arguments.json is not None and arguments.json.exists()
    found = json.loads(arguments.json.read_text()) if before else {}
    for extras in arguments.names or IMPORTS:
        found[extras] = measure(extras)
        print(
            f"{extras or 'none':12} {found[extras]['disk_mb']:7.0f} MB {found[extras]['memory_mb']:7.0f} MB", flush=True
        )
        if arguments.json:
            known = {name: found[name] for name in IMPORTS if name in found}
            arguments.json.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
