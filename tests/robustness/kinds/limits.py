"""Full disks, too few handles and streams that cannot be written."""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from random import Random

from ..attempt import Case
from ..inputs import PROMPT, SEED, STEPS, Inputs, pixels_of, succeed


def case(inputs: Inputs, random: Random) -> Case:
    """`generate` or `batch` under one limit."""
    limits = {  # stderr is such a file, too
        "files end at": (resource.RLIMIT_FSIZE, random.choice((4000, 8000, 12_000, 100_000))),
        "handles": (resource.RLIMIT_NOFILE, random.randrange(8, 40)),
        "stdout is": (None, random.choice(("full", "closed", "a closed pipe", "ASCII"))),
    }
    name = random.choice(list(limits))
    limit, value = limits[name]
    use = random.choice(("generate", "batch", "inspect", "schedulers"))

    def run() -> bytes | None:
        row = {"id": "a", "prompt": PROMPT, "num_inference_steps": STEPS, "seed": SEED}
        Path("jobs.jsonl").write_text(json.dumps(row))
        if isinstance(limit, int) and isinstance(value, int):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python has it
            resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
        else:
            _stdout(str(value))
        if use in ("inspect", "schedulers"):
            succeed(use, *((inputs.package,) if use == "inspect" else ()))
            return None
        if use == "batch":
            succeed("batch", inputs.package, "jobs.jsonl", "out", "--device", "cpu")
            made = Path("out/a.png")
        else:
            options = ("--steps", STEPS, "--seed", SEED, "--out", "out.png", "--device", "cpu")
            succeed("generate", inputs.package, PROMPT, *options)
            made = Path("out.png")
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return pixels_of(made)

    expected = inputs.pixels if use in ("generate", "batch") else None
    return Case(f"{use}, {name} {value}", run, expected, statuses=(1,))


def _stdout(kind: str) -> None:
    """Replace stdout by one that cannot be written, or that takes ASCII alone."""
    if kind == "full":
        sys.stdout = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", encoding="utf-8")
    elif kind == "ASCII":
        sys.stdout = os.fdopen(1, "w", encoding="ascii", closefd=False)
    elif kind == "closed":
        os.close(1)
        sys.stdout = None  # as Python has it
    else:
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
