"""Run many altered inputs and print a table of outcomes: `python -m tests.robustness --cases 4000`."""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from .attempt import PROMISED, Outcome
from .inputs import prepare
from .kinds import kinds_for
from .run import run, table

_SHOWN = 40


def main() -> int:
    """Run the cases; exit status 1 if an outcome is not as promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument("--cases", type=int, default=400, help="number of cases, of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND", help="one kind")
    parser.add_argument("--case", type=int, help="with --only: one case, whose folder is kept")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="robustness-"))
    (folder / "inputs").mkdir()
    inputs = prepare(folder / "inputs")
    names = list(kinds_for(inputs)) if given.only is None else [given.only]
    numbers = range(given.cases // len(names)) if given.case is None else [given.case]
    counts: dict[str, Counter[Outcome]] = {name: Counter() for name in names}
    for name, number, case, result in run(inputs, folder, names, numbers, given.seed):
        counts[name][result.outcome] += 1
        if result.outcome not in PROMISED or given.case is not None:
            print(f"{name} {number}: {result.outcome}: {case.name}: {result.line[:160]}", flush=True)
    print(table(counts))
    if given.case is None:
        shutil.rmtree(folder)
    else:
        print(folder)
    return 0 if all(outcome in PROMISED for found in counts.values() for outcome in found.elements()) else 1


if __name__ == "__main__":
    sys.exit(main())
