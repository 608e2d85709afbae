"""Plot of samplers: the noise levels of their denoiser calls, and the coefficients of their steps."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from triptych.runtime.sampling import Sampler
from triptych.runtime.sampling.listing import STEPS, sampler_named
from triptych.runtime.sampling.table import Table

from .files import check_writable, write_whole
from .plot import check_format

COLUMNS = 4
_DPI = 100
# Inches. A cell has a title, the noise levels and, below them, a line for each coefficient
_CELL_WIDTH, _LEFT, _RIGHT = 3.3, 0.85, 0.15
_TITLE, _LEVELS, _GAP, _LINE, _BELOW = 0.5, 1.1, 0.08, 0.16, 0.3
_HEAD, _BAR = 0.65, 0.75
_COLOURS, _LARGEST, _LINEAR = "RdBu_r", 10.0, 0.03  # coefficients: up to 10 either way, linear below 0.03
_BASES = {
    "sample": "x0",
    "epsilon": "eps",
    "v_prediction": "v",
    "flow_prediction": "velocity",
}  # m of a table
_CAPTION = (
    f"The denoiser calls of {STEPS} steps: noise level and coefficients",
    "x: input of the denoiser; s: the same, corrected; m: its predictions, the newest first; z: noise",
)
_RANGE = (5e-4, 5e2)  # of sigma / alpha; values beyond are marked at the edge


def save(names: Sequence[str], path: Path) -> None:
    """Draw the samplers of those names to a .png or .svg file, whole or not at all.

    Raises:
        ArgumentError: the name has another ending, or the file cannot be written.
        SamplerError: there is no such scheduler.
    """
    check_format(path)
    check_writable(path)
    write_whole(path, draw(names, path.suffix))


def draw(names: Sequence[str], suffix: str) -> bytes:
    """Draw a cell for each name, with the denoiser calls of STEPS steps from left to right, in diffusers' defaults.

    Above, sigma / alpha of every call; below, the coefficients of the rows: see `triptych.runtime.sampling.table`.
    """
    samplers = [sampler_named(name) for name in names]
    lines = [coefficients(sampler.table) for sampler in samplers]
    columns = min(COLUMNS, len(names))
    rows = [range(first, min(first + columns, len(names))) for first in range(0, len(names), columns)]
    heights = [_TITLE + _LEVELS + _GAP + _LINE * max(len(lines[i][0]) for i in row) + _BELOW for row in rows]
    width, height = columns * _CELL_WIDTH, _HEAD + sum(heights) + _BAR
    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    for line, (y, size) in zip(_CAPTION, ((0.15, 11), (0.4, 8)), strict=True):
        figure.text(0.5, 1 - y / height, line, ha="center", va="top", fontsize=size)

    def axes(x: float, y: float, wide: float, high: float) -> Axes:
        return figure.add_axes((x / width, 1 - (y + high) / height, wide / width, high / height))

    norm = SymLogNorm(_LINEAR, vmin=-_LARGEST, vmax=_LARGEST)
    inner, top = _CELL_WIDTH - _LEFT - _RIGHT, _HEAD
    for row, tall in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            x, y = column * _CELL_WIDTH + _LEFT, top + _TITLE
            _draw_levels(axes(x, y, inner, _LEVELS), names[i], samplers[i])
            _draw_coefficients(axes(x, y + _LEVELS + _GAP, inner, _LINE * len(lines[i][0])), *lines[i], norm)
        top += tall
    bar = axes(width / 2 - 1.6, height - 0.5, 3.2, 0.12)
    colours = figure.colorbar(ScalarMappable(norm, _COLOURS), bar, orientation="horizontal", extend="both")
    colours.set_ticks([-10, -1, -0.1, 0, 0.1, 1, 10], labels=["-10", "-1", "-0.1", "0", "0.1", "1", "10"])
    bar.tick_params(labelsize=7)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=suffix.lower().removeprefix("."), metadata={"Title": ", ".join(names)})
    return drawn.getvalue()


def coefficients(table: Table) -> tuple[list[str], np.ndarray]:
    """Labels and values [labels, calls] of all coefficients of the table that are not 0 everywhere.

    An arrow points to the result. Corrections that change nothing are left out.
    """
    history = ["m", *(f"m_{{-{j}}}" for j in range(1, table.advance.shape[1] - 1))]
    advances = zip(("s", *history, "z"), (*table.advance.T, table.noise), strict=True)
    named = [(f"$x \\leftarrow {part}$", line) for part, line in advances]
    if (table.correct[:, 0] != 1).any() or table.correct[:, 1:].any():
        corrects = zip(("x", "s_{-1}", *history), table.correct.T, strict=True)
        named = [*((f"$s \\leftarrow {part}$", line) for part, line in corrects), *named]
    shown = [(label, line) for label, line in named if line.any()]
    return [label for label, _ in shown], np.array([line for _, line in shown])


def _draw_levels(axes: Axes, name: str, sampler: Sampler) -> None:
    levels = sampler.noise_levels
    shown = np.clip(levels, *_RANGE)
    calls = np.arange(len(levels))
    axes.plot(calls, shown, "-o", color="#4c78a8", markersize=2.5, linewidth=0.8)
    for beyond, marker in ((levels > shown, "^"), (levels < shown, "v")):
        axes.plot(calls[beyond], shown[beyond], marker, color="#e45756", markersize=5, clip_on=False)
    axes.set_yscale("log")
    axes.set_ylim(*_RANGE)
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.set_yticks([0.001, 0.01, 0.1, 1, 10, 100], labels=["0.001", "0.01", "0.1", "1", "10", "100"])
    axes.tick_params(labelsize=7, length=2)
    axes.tick_params(axis="x", labelbottom=False)
    axes.tick_params(axis="y", which="minor", length=0)
    axes.grid(axis="y", linewidth=0.3)
    axes.set_ylabel("sigma / alpha", fontsize=7)
    axes.text(0, 1.17, name, transform=axes.transAxes, fontsize=9, weight="bold")
    axes.text(0, 1.04, sampler.name, transform=axes.transAxes, fontsize=7)
    about = f"order {sampler.order}, in {_BASES.get(sampler.table.basis, sampler.table.basis)}"
    axes.text(1, 1.17, about, transform=axes.transAxes, fontsize=7, ha="right")


def _draw_coefficients(axes: Axes, labels: list[str], values: np.ndarray, norm: SymLogNorm) -> None:
    axes.imshow(values, cmap=_COLOURS, norm=norm, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.set_yticks(np.arange(len(labels) - 1) + 0.5, minor=True)
    axes.grid(axis="y", which="minor", color="white", linewidth=1.2)
    axes.tick_params(labelsize=7, length=0)
    axes.tick_params(axis="y", which="minor", length=0)
    axes.set_xticks(range(0, values.shape[1], 5))
