"""Figures of the peers and their file, which docs/peers-schema.md describes.

Seconds are wall time. None is an unknown figure.
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
    """A measured case. `what` is the name of a component, or "picture", a whole image, which has steps."""

    what: str
    size: Size
    threads: int
    steps: int | None = None

    def __str__(self) -> str:
        """Key of the case in recorded negative results."""
        return self._describe(self.what)

    @property
    def title(self) -> str:
        """The case in a heading."""
        return self._describe("image" if self.what == "picture" else self.what)

    def _describe(self, name: str) -> str:
        steps = f" of {self.steps} steps" if self.steps else ""
        size = self.size
        return f"{name}{steps}, {size.width}x{size.height}, batch {size.batch}, {self.threads} threads"


@dataclass(frozen=True)
class Figure:
    """One peer in one case.

    Attributes:
        peer: name of the peer.
        case: the measured case.
        run: start of the alternating run, UTC, ISO 8601; only figures of the same run can be compared.
        exact: whether the peer computes in fp32 throughout.
        load_seconds: time to load the components of the case, without preparation.
        prepare_seconds: time of preparation (conversion, calibration) in this run; about 0 if it was done before.
        first_seconds: time of the first call.
        seconds: times of the warm calls, one a round.
        peak_bytes: peak memory of the process since its start.
        psnr_db: PSNR of an image against that of the first peer in the same run; None for that peer and for
            components; 99 if both are equal.
        macs: multiply-accumulates of the call, with attention.
        bound_seconds: time of the MACs at the rate of a large matrix product in the peer's precision.
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
        """Median of the warm calls in seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Negative:
    """A case that failed, or an attempt that gained nothing, with its outcome."""

    peer: str
    tried: str
    outcome: str


@dataclass
class Results:
    """All figures of one machine and one model, which `machine` and `model` describe."""

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
        """Whether the peer was tried in the case and failed."""
        return any((negative.peer, negative.tried) == (peer, str(case)) for negative in self.negatives)

    def runs(self, case: Case) -> Iterator[list[Figure]]:
        """Figures of a case for each run, the newest run first."""
        of_case = [figure for figure in self.figures if figure.case == case]
        for run in sorted({figure.run for figure in of_case}, reverse=True):
            yield [figure for figure in of_case if figure.run == run]

    def add(self, figure: Figure) -> None:
        """Add a figure, in place of one of the same run, peer and case."""
        key = (figure.run, figure.peer, figure.case)
        self.figures = [known for known in self.figures if (known.run, known.peer, known.case) != key]
        self.figures.append(figure)

    def fail(self, negative: Negative) -> None:
        """Add a negative result, in place of one of the same peer and case."""
        key = (negative.peer, negative.tried)
        self.negatives = [known for known in self.negatives if (known.peer, known.tried) != key]
        self.negatives.append(negative)

    def write(self, path: Path) -> None:
        """Write all figures to a file, as a whole or not at all."""
        content = {"format": FORMAT, **dataclasses.asdict(self)}
        write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read(path: Path) -> Results:
    """Read a file that `Results.write` wrote.

    Raises:
        ArgumentError: the file cannot be read, or has another format.
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
