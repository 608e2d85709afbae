"""Plots of the peers: bars per component, a line for each peer over each sweep, a roofline."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from ..peers.figures import Case, Figure, Results
from ..peers.work import COMPONENTS

TITLES = {
    "text_encoder": "text encoder",
    "unet": "U-Net, both halves of guidance",
    "vae_decoder": "VAE decoder",
}
_DPI = 100
_OWN, _EXACT, _LOSSY, _BOUND = "#e45756", "#4c78a8", "#9ecae9", "#222222"
_MARKERS = "os^vDPX<>*hp"

AXES: Mapping[str, tuple[str, Callable[[Case], float], Callable[[Case], Case]]] = {
    "sizes": (
        "pixels a side, U-Net",
        lambda case: float(case.size.width),
        lambda case: replace(case, size=replace(case.size, height=0, width=0)),
    ),
    "batches": (
        "images at once, U-Net",
        lambda case: float(case.size.batch),
        lambda case: replace(case, size=replace(case.size, batch=0)),
    ),
    "threads": ("threads, U-Net", lambda case: float(case.threads), lambda case: replace(case, threads=0)),
    "steps": ("steps, whole image", lambda case: float(case.steps or 0), lambda case: replace(case, steps=0)),
}
"""Sweep -> label of its axis, a case's place on the axis, and the case without that place."""


def bars(results: Results, own: Sequence[str], parts: Sequence[str] = COMPONENTS) -> bytes | None:
    """PNG: a bar a peer at its median in each part, a whisker over all rounds, a mark at the arithmetic bound.

    Args:
        results: recorded figures.
        own: Triptych's names among them.
        parts: names of components or of the whole image, see `Case`; None is returned if none of them was measured.
    """
    cases = [case for name in parts for case in home_cases(results) if case.what == name]
    shown = [(case, _newest(results, case)) for case in cases]
    if not shown:
        return None
    heights = [len(figures) for _, figures in shown]
    canvas = Canvas(figsize=(7.2, 0.9 + 0.24 * sum(heights) + 0.5 * len(shown)), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(canvas)
    rows = canvas.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (case, figures) in zip(rows, shown, strict=True):
        names, medians = [figure.peer for figure in figures], [figure.median for figure in figures]
        below = [figure.median - min(figure.seconds) for figure in figures]
        above = [max(figure.seconds) - figure.median for figure in figures]
        colours = [_OWN if figure.peer in own else _EXACT if figure.exact else _LOSSY for figure in figures]
        axes.barh(names, medians, xerr=[below, above], capsize=2, color=colours, error_kw={"linewidth": 0.8})
        marks = [(figure.bound_seconds, row) for row, figure in enumerate(figures) if figure.bound_seconds is not None]
        if marks:
            axes.plot(*zip(*marks, strict=True), "|", color=_BOUND, markersize=9, markeredgewidth=1.5)
        axes.invert_yaxis()
        axes.tick_params(labelsize=7)
        axes.set_title(TITLES.get(case.what, case.title), fontsize=8, loc="left")
    rows[-1].set_xlabel("seconds a call; red: Triptych, dark: fp32, light: less; mark: arithmetic bound", fontsize=8)
    return _png(canvas)


def scaling(results: Results) -> bytes | None:
    """PNG: seconds over each sweep that was measured, both axes logarithmic; None if there is none."""
    sweeps = [(name, lines) for name in AXES if (lines := dict(_lines(results, name)))]
    if not sweeps:
        return None
    canvas = Canvas(figsize=(4.2 * len(sweeps), 4.4), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(canvas)
    names = sorted({peer for _, lines in sweeps for peer in lines})
    for axes, (name, lines) in zip(canvas.subplots(1, len(sweeps), squeeze=False)[0], sweeps, strict=True):
        for peer, points in lines.items():
            style = names.index(peer)
            axes.plot(
                *zip(*points, strict=True),
                marker=_MARKERS[style % len(_MARKERS)],
                color=f"C{style}",
                markersize=4,
                linewidth=1,
                label=peer,
            )
        places = sorted({place for points in lines.values() for place, _ in points})
        _logarithmic(axes, places)
        axes.set_xlabel(AXES[name][0], fontsize=8)
    canvas.axes[0].set_ylabel("seconds", fontsize=8)
    handles = {
        label: handle for axes in canvas.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    canvas.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=7, frameon=False)
    return _png(canvas)


def roofline(results: Results) -> bytes | None:
    """PNG: GFLOP/s of each peer in each component over the work of a call, under the rate of a matrix product.

    The work of a call stands where a roofline has arithmetic intensity: every weight is read at least once per call, so
    that the intensity is at most the work over the weights, and here all components are far to the right of the ridge.
    """
    figures = [
        figure
        for case in home_cases(results)
        if case.what in COMPONENTS
        for figure in _newest(results, case)
        if figure.macs is not None
    ]
    if not figures:
        return None
    canvas = Canvas(figsize=(7.2, 4.4), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    names = sorted({figure.peer for figure in figures})
    for style, name in enumerate(names):
        points = [
            (2e-9 * figure.macs, 2e-9 * figure.macs / figure.median)
            for figure in figures
            if figure.peer == name and figure.macs is not None
        ]
        axes.plot(*zip(*points, strict=True), _MARKERS[style % len(_MARKERS)], color=f"C{style}", label=name)
    threads = max(figure.case.threads for figure in figures)
    for key, rate in results.rates.items():
        kind, _, count = key.partition("/")
        if int(count) == threads:
            axes.axhline(rate / 1e9, color=_BOUND, linewidth=0.8, linestyle="-" if kind == "float32" else "--")
            axes.annotate(f"matrix product, {kind}", (0.01, rate / 1e9), xycoords=("axes fraction", "data"), fontsize=7)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.tick_params(labelsize=7)
    axes.set_xlabel("GFLOP a call: text encoder, U-Net, VAE decoder", fontsize=8)
    axes.set_ylabel("GFLOP/s", fontsize=8)
    canvas.legend(loc="outside lower center", ncols=4, fontsize=7, frameon=False)
    return _png(canvas)


def home_cases(results: Results) -> list[Case]:
    """Cases of the size and threads that were measured first, which are the defaults."""
    cases = list(dict.fromkeys(figure.case for figure in results.figures))
    return [case for case in cases if (case.size, case.threads) == (cases[0].size, cases[0].threads)] if cases else []


def _newest(results: Results, case: Case) -> list[Figure]:
    peers = dict.fromkeys(figure.peer for figure in results.figures if figure.case == case)
    found = [figure for figure in (results.find(peer, case) for peer in peers) if figure is not None]
    return sorted(found, key=lambda figure: figure.median)


def _lines(results: Results, sweep: str) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Lines of the peers that were measured at two places of the sweep or more."""
    _, place, rest = AXES[sweep]
    what = "picture" if sweep == "steps" else "unet"
    home = [case for case in home_cases(results) if case.what == what]
    for peer in dict.fromkeys(figure.peer for figure in results.figures):
        cases = {figure.case for figure in results.figures if figure.peer == peer and figure.case.what == what}
        along = sorted((case for case in cases if home and rest(case) == rest(home[0])), key=place)
        if len(along) > 1:
            found = [(place(case), results.find(peer, case)) for case in along]
            yield peer, [(at, figure.median) for at, figure in found if figure is not None]


def _logarithmic(axes: Axes, places: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(places, labels=[f"{place:g}" for place in places])
    axes.minorticks_off()
    axes.tick_params(labelsize=7)
    axes.grid(linewidth=0.3)


def _png(canvas: Canvas) -> bytes:
    drawn = io.BytesIO()
    canvas.savefig(drawn, format="png")
    return drawn.getvalue()
