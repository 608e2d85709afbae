"""Cases by number, and the table of their outcomes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from .attempt import Case, Outcome, Result, attempt_all
from .inputs import Inputs
from .kinds import Kind, kinds_for


def case_of(name: str, kind: Kind, inputs: Inputs, seed: int, number: int) -> Case:
    """The case of a kind with a number, the same for the same seed."""
    return kind(inputs, Random(f"{seed} {name} {number}"))


def run(
    inputs: Inputs, folder: Path, names: Sequence[str], numbers: Sequence[int], seed: int
) -> Iterator[tuple[str, int, Case, Result]]:
    """Run the cases of these kinds with these numbers: kind, number, case and result of each as it ends."""
    kinds = kinds_for(inputs)
    for name in names:
        cases = (case_of(name, kinds[name], inputs, seed, number) for number in numbers)
        for place, case, result in attempt_all(cases, folder / name, inputs.folder):
            yield name, numbers[place], case, result


def table(counts: dict[str, Counter[Outcome]]) -> str:
    """Outcomes of each kind."""
    columns = ["kind", "tried", *Outcome]
    rows = [[name, sum(found.values()), *(found[each] for each in Outcome)] for name, found in counts.items()]
    total = [sum(column) for column in list(zip(*rows, strict=True))[1:]]
    lines = [columns, *rows, ["all", *total]]
    widths = [max(len(str(line[place])) for line in lines) for place in range(len(columns))]
    return "\n".join("  ".join(f"{each!s:>{w}}" for each, w in zip(line, widths, strict=True)) for line in lines)
