"""What is measured of the peers, and the file that holds it: docs/peers-schema.md describes it.

Seconds are wall time, bytes are bytes. None is a figure that is not known.
"""

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.runtime.errors import ArgumentError

from ..files import write_whole
from .work import Size

FORMAT = 1


@dataclass(frozen=True)
class Case:
    """What is called: a component by name, or `picture`, which has steps. `threads` compute it."""

    what: str
    size: Size
    threads: int
    steps: int | None = None

    def __str__(self) -> str:
        steps = f" of {self.steps} steps" if self.steps else ""
        size = self.size
        return f"{self.what}{steps}, {size.width}x{size.height}, batch {size.batch}, {self.threads} threads"


@dataclass(frozen=True)
class Figure:
    """One peer in one case.

    Attributes:
        peer: its name.
        case: what was called.
        run: when the alternating run began in which this was measured, UTC, ISO 8601: only figures of the same run are
            to be compared.
        exact: whether the peer computes in fp32 throughout.
        load_seconds: to load what the case needs; preparing (conversion, calibration) is apart.
        prepare_seconds: that preparing took in this run, next to nothing where it had been done before.
        first_seconds: of the first call.
        seconds: of the warm calls, one a round.
        peak_bytes: the most that the process held, from its start.
        psnr_db: of a picture's pixels against the first peer's in the same run; None for that peer, and for
            components; 99 where they are equal.
        macs: multiply-accumulates of the call, attention included.
        bound_seconds: the time that they take at the rate of a large matrix product in the peer's own precision.
    """

    peer: str
    case: Case
    run: str
    exact: bool
    load_seconds: float
    prepare_seconds: float
    first_seconds: float
    seconds: list[float]
    peak_bytes: int | None
    psnr_db: float | None = None
    macs: int | None = None
    bound_seconds: float | None = None

    @property
    def median(self) -> float:
        """Of the warm calls, in seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Negative:
    """Something that did not work, or did not pay: what was tried and what came of it."""

    peer: str
    tried: str
    outcome: str


@dataclass
class Results:
    """All figures of one machine and one model. `machine`, `versions` and `model` say which."""

    machine: dict[str, Any]
    model: dict[str, Any]
    rates: dict[str, float] = field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    negatives: list[Negative] = field(default_factory=list)

    def find(self, peer: str, case: Case) -> Figure | None:
        """The newest figure of a peer in a case."""
        found = [figure for figure in self.figures if (figure.peer, figure.case) == (peer, case)]
        return max(found, key=lambda figure: figure.run, default=None)

    def failed(self, peer: str, case: Case) -> bool:
        """Whether it was tried and did not work."""
        return any((negative.peer, negative.tried) == (peer, str(case)) for negative in self.negatives)

    def runs(self, case: Case) -> Iterator[list[Figure]]:
        """The figures of a case, run by run, the newest first."""
        of_case = [figure for figure in self.figures if figure.case == case]
        for run in sorted({figure.run for figure in of_case}, reverse=True):
            yield [figure for figure in of_case if figure.run == run]

    def add(self, figure: Figure) -> None:
        """A figure, in place of one of the same run, peer and case."""
        key = (figure.run, figure.peer, figure.case)
        self.figures = [known for known in self.figures if (known.run, known.peer, known.case) != key]
        self.figures.append(figure)

    def fail(self, negative: Negative) -> None:
        """A result that is none, in place of an earlier one of the same try."""
        key = (negative.peer, negative.tried)
        self.negatives = [known for known in self.negatives if (known.peer, known.tried) != key]
        self.negatives.append(negative)

    def write(self, path: Path) -> None:
        """Whole, or not at all."""
        content = {"format": FORMAT, **dataclasses.asdict(self)}
        write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read(path: Path) -> Results:
    """What `Results.write` wrote.

    Raises:
        ArgumentError: the file is no such file.
    """
    try:
        content = json.loads(path.read_text())
        if content.pop("format") != FORMAT:
            raise ArgumentError(f"{path} is not of format {FORMAT}")
        figures = [_figure(**entry) for entry in content.pop("figures")]
        negatives = [Negative(**entry) for entry in content.pop("negatives")]
        return Results(**content, figures=figures, negatives=negatives)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentError(f"{path} holds no figures of peers: {error}") from None


def _figure(case: dict[str, Any], **rest: Any) -> Figure:
    return Figure(case=Case(**case | {"size": Size(**case["size"])}), **rest)


Report = Callable[[str], None]
