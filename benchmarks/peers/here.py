"""Description of this machine and the model, for new results."""

import os
from datetime import UTC, datetime
from pathlib import Path

from triptych.runtime.ort.device import open_device
from triptych.runtime.package.package import open_package

from ..machine import describe_machine, versions
from .figures import Results


def new_results(package: str | Path) -> Results:
    """Results without figures."""
    machine, opened = describe_machine(open_device("cpu")), open_package(package)
    return Results(
        machine={
            "cpu": machine.cpu,
            "cores": machine.cores,
            "memory_bytes": machine.memory_bytes,
            "system": machine.system,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        },
        model={
            "name": opened.manifest.source,
            "fingerprint": opened.fingerprint,
        },
    )


def usable_threads() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
