"""docs/peers.md with its plots, and the README's table of peers, from the recorded figures.

python -m triptych.benchmarks.recorded.peers_page
"""

import json
from pathlib import Path
from typing import Any

from ..peers.catalogue import PEERS
from ..peers.figures import Case, Results, read
from ..peers.table import HEAD, rows
from . import peers_plots as plots
from .peers_plots import home_cases

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "recorded" / "results"
NEGATIVES = RESULTS / "negatives.json"
LIKENESS = RESULTS / "likeness.json"
PAGE = REPOSITORY / "docs" / "peers.md"

_HEAD = """\
# Triptych and other runtimes

The same model in Triptych and in its peers, other runtimes. Written by
`python -m triptych.benchmarks.recorded.peers_page` from `benchmarks/recorded/results/peers-*.json`
([format](peers-schema.md)). Every peer has the same weights, prompt, steps and seed, is installed in an environment of
its own with pinned versions, and takes turns with the others; times are medians of the rounds, with half of
their range. *of it* is the time of Triptych's first configuration in the same run over the peer's: below 1, Triptych
is faster. *bound* is the time of the arithmetic at the rate of a large matrix product. *peak* is of a process with
only that loaded. *PSNR*, the peak signal-to-noise ratio, is that of the image against Triptych's.

`python -m triptych.benchmarks.peers install all` makes the environments,
`python -m triptych.benchmarks.peers run PACKAGE CHECKPOINT OUT.json` measures.
"""


_LIKENESS_COMMAND = "python -m triptych.benchmarks.peers likeness PACKAGE models/emoji OUT.json --prompts FILE"


def recorded() -> list[Path]:
    """Files of figures, one for each machine."""
    return sorted(RESULTS.glob("peers-*.json"))


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for path in recorded():
        parts.append(_machine(read(path), path.stem))
    parts.append("\n".join(_likeness(json.loads(LIKENESS.read_text()))))
    tried = [[entry["peer"], entry["tried"], entry["outcome"]] for entry in json.loads(NEGATIVES.read_text())]
    parts += ["## Tried by hand\n", *_markdown(["peer", "tried", "outcome"], tried)]
    return "\n".join(parts) + "\n"


def _machine(results: Results, stem: str) -> str:
    machine = results.machine
    rates = ", ".join(f"{key.replace('/', ' on ')} threads {rate / 1e9:,.0f}" for key, rate in results.rates.items())
    lines = [
        f"## {machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"{machine['date'][:10]}",
        "",
        f"Large matrix products, GFLOP/s: {rates}.",
        "",
        *(f"![{name}]({stem}-{name}.png)\n" for name in plots_of(results)),
    ]
    for case in dict.fromkeys(figure.case for figure in results.figures):
        lines += [f"### {case.title}", "", *table(results, case), ""]
    weights = [
        [name, f"{facts['megabytes']:,.0f} MB"]
        for name, facts in sorted(results.environments.items())
        if facts["megabytes"] is not None
    ]
    lines += ["### Environments on disk", "", *_markdown(["environment", "size"], weights), ""]
    lines += ["### Negative results", ""]
    negatives = [[each.peer, each.tried, each.outcome.replace("|", "\\|")] for each in results.negatives]
    lines += _markdown(["peer", "tried", "outcome"], negatives)
    return "\n".join(lines) + "\n"


def _likeness(compared: Any) -> list[str]:
    """Section with the PSNR of images in other precisions."""
    lines = [
        "## Similarity to exact images\n",
        f"{compared['pictures']} images of the demo model, which has real weights, of {compared['steps']} steps at "
        f"guidance {compared['guidance_scale']:g}, each against Triptych's in fp32 ({compared['cpu']}, "
        f"{compared['date'][:10]}), by `{_LIKENESS_COMMAND}`. Runtimes with a calibration used the same prompts.\n",
    ]
    cells = []
    for name, facts in compared["peers"].items():
        psnr = facts.get("psnr_db")
        figures = (
            [f"{psnr[key]:.1f} dB" for key in ("median", "mean", "worst")] if psnr else [facts["failed"], "-", "-"]
        )
        cells.append([_label(name), *figures, str(facts.get("below_30_db", "-"))])
    return [*lines, *_markdown(["runtime", "median PSNR", "mean", "worst", "below 30 dB"], cells), ""]


def table(results: Results, case: Case) -> list[str]:
    """A case as a table in Markdown, with a description of each peer."""
    return _markdown(list(HEAD), [[_label(name), *rest] for name, *rest in rows(results, case)])


def _label(name: str) -> str:
    """Name and description of a peer; Triptych in bold."""
    return f"{name} ({PEERS[name].about})" if name in PEERS else f"**{name}**"


_SUMMARY = {"unet": "U-Net call", "vae_decoder": "VAE decoder", "picture": "image of {} steps"}


def summary(results: Results) -> list[str]:
    """The README's table: times of each peer at the package's default size, and the size of its environment."""
    chosen = {case.what: case for case in reversed(home_cases(results)) if case.what in _SUMMARY}
    columns = {what: {row[0]: row for row in rows(results, chosen[what])} for what in _SUMMARY if what in chosen}
    lines = []
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        cells = [PEERS[name].about if name in PEERS else f"**Triptych, {name}**"]
        for column in columns.values():
            cells.append(f"{column[name][1]} ({column[name][3]})" if name in column else "-")
        place = PEERS[name].environment if name in PEERS else ""
        weight = results.environments.get(place, {}).get("megabytes")
        lines.append([*cells, "-" if weight is None else f"{weight:,.0f} MB"])
    heads = [_SUMMARY[what].format(chosen[what].steps) for what in columns]
    return _markdown(["runtime", *heads, "environment"], lines)


def plots_of(results: Results) -> dict[str, bytes]:
    """Name -> PNG of each plot that has figures."""
    triptych = [name for name in dict.fromkeys(figure.peer for figure in results.figures) if name not in PEERS]
    drawn = {
        "components": plots.bars(results, triptych),
        "image": plots.bars(results, triptych, ["picture"]),
        "scaling": plots.scaling(results),
        "roofline": plots.roofline(results),
    }
    return {name: plot for name, plot in drawn.items() if plot is not None}


def _markdown(head: list[str], rows_: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows_)]


def main() -> None:
    """Write the page and its plots."""
    PAGE.write_text(page())
    for path in recorded():
        for name, plot in plots_of(read(path)).items():
            (PAGE.parent / f"{path.stem}-{name}.png").write_bytes(plot)


if __name__ == "__main__":
    main()
