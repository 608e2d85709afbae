"""Plot of the latency per component."""

import io
from pathlib import Path

from triptych.runtime.errors import ArgumentError

from .result import Result

FORMATS = (".png", ".svg")
_INCHES, _DPI = (6.4, 3.2), 100


def check_format(path: Path) -> None:
    """Refuse a name that does not end in one of FORMATS.

    Raises:
        ArgumentError: the name ends otherwise.
    """
    if path.suffix.lower() not in FORMATS:
        raise ArgumentError(f"--plot {path}: the name must end in {' or '.join(FORMATS)}")


def draw(result: Result, suffix: str) -> bytes:
    """Draw a bar per component at its median, a whisker up to the 90th percentile, and a mark at its arithmetic bound.

    The bound is the time that the component's MACs take at the rate of the large matrix product. The scale is
    logarithmic: a text encoder and a U-Net are a hundredfold apart.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, figures = list(result.components), list(result.components.values())
    medians = [component.median_seconds for component in figures]
    whiskers = [component.p90_seconds - component.median_seconds for component in figures]
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.barh(names, medians, xerr=[[0.0] * len(names), whiskers], capsize=4, color="#4c78a8", label="median, p90")
    bounds = [(row, bound) for row, bound in enumerate(map(_bound, [result] * len(names), names)) if bound is not None]
    if bounds:
        rows, seconds = zip(*bounds, strict=True)
        axes.plot(seconds, rows, "|", color="#e45756", markersize=24, markeredgewidth=2, label="arithmetic bound")
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel("seconds a call")
    conditions = result.conditions
    size = f"{conditions.width}x{conditions.height}"
    axes.set_title(f"{result.package.name}, {size}, {conditions.device}", fontsize=10)
    figure.legend(loc="outside lower right", ncols=2, fontsize=8, frameon=False, markerscale=0.4)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=suffix.lower().removeprefix("."))
    return drawn.getvalue()


def _bound(result: Result, name: str) -> float | None:
    macs = result.components[name].macs
    return None if macs is None else 2 * macs / result.matrix_product.flops_per_second
