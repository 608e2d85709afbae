"""Figures of peers as tables of text."""

from collections.abc import Sequence

from triptych.runtime.cli.columns import columns

from ..table import seconds
from .figures import Case, Figure, Results

HEAD = ("peer", "median", "spread", "of it", "bound", "first", "load", "peak", "PSNR")


def as_text(results: Results) -> str:
    """Each case with its newest figures, then the negative results."""
    lines = []
    for case in dict.fromkeys(figure.case for figure in results.figures):
        lines += ["", case.title, *columns([list(HEAD), *rows(results, case)])]
    lines += ["", *(f"{each.peer}, {each.tried}: {each.outcome}" for each in results.negatives)]
    return "\n".join(lines).strip()


def rows(results: Results, case: Case) -> list[list[str]]:
    """One row for each peer, the fastest first. `of it` is the first peer's time in the same run over this peer's."""
    newest: dict[str, tuple[Figure, Figure]] = {}
    for run in results.runs(case):
        for figure in run:
            newest.setdefault(figure.peer, (figure, run[0]))
    ordered = sorted(newest.values(), key=lambda pair: pair[0].median)
    return [_row(figure, base) for figure, base in ordered]


def _row(figure: Figure, base: Figure) -> list[str]:
    return [
        figure.peer,
        seconds(figure.median),
        spread(figure.seconds),
        f"{base.median / figure.median:.2f}",
        "-" if figure.bound_seconds is None else seconds(figure.bound_seconds),
        seconds(figure.first_seconds),
        seconds(figure.load_seconds),
        "-" if figure.peak_bytes is None else f"{figure.peak_bytes / 1e9:.2f} GB",
        "-" if figure.psnr_db is None else f"{figure.psnr_db:.0f} dB",
    ]


def spread(values: Sequence[float]) -> str:
    """Half the range of the values, in percent of its middle."""
    low, high = min(values), max(values)
    return f"±{(high - low) / (high + low):.1%}"
