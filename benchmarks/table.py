"""Tables of one run for the terminal."""

from rich.console import Console
from rich.table import Table

from .result import Result

_UNKNOWN = "-"


def show(result: Result, console: Console) -> None:
    """Print the figures, with machine, versions and conditions."""
    _print_header(result, console)
    console.print(_latency(result))
    console.print(_work(result))
    _print_image(result, console)


def seconds(value: float) -> str:
    """A duration with about three digits in a fitting unit: 8.70 s, 52.1 ms, 0.21 ms."""
    if value >= 1:
        return f"{value:,.2f} s"
    return f"{value * 1e3:.1f} ms" if value >= 0.01 else f"{value * 1e3:.2f} ms"


def _print_header(result: Result, console: Console) -> None:
    package, conditions, machine = result.package, result.conditions, result.machine
    about = ", ".join(filter(None, (package.family, package.precision, package.dialect)))
    lines = [
        f"[bold]{package.name}[/]  {about}",
        f"{conditions.width}x{conditions.height} pixels, {conditions.steps} steps of {conditions.scheduler}, "
        f"guidance {conditions.guidance_scale:g}, {conditions.device} ({conditions.provider})",
        f"{machine.cpu}, {_or_unknown(machine.cores)} cores, {_or_unknown(machine.threads)} threads, "
        f"{machine.memory_bytes / 2**30:.1f} GiB, {machine.system}",
        *machine.gpus,
        ", ".join(f"{name} {version}" for name, version in result.versions.items()),
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _latency(result: Result) -> Table:
    table = _table("component", "batch", "load", "first", "median", "p90", "calls")
    for name, figures in result.components.items():
        table.add_row(
            name,
            str(max(shape[0] for shape in figures.shapes.values() if shape)),
            seconds(figures.load_seconds),
            seconds(figures.first_seconds),
            seconds(figures.median_seconds),
            seconds(figures.p90_seconds),
            str(figures.calls),
        )
    return table


def _work(result: Result) -> Table:
    table = _table("component", "GMAC", "GFLOP/s", "of product", "weights MB", "resident MB")
    for name, figures in result.components.items():
        table.add_row(
            name,
            _number(figures.macs, "{:,.3g}" if (figures.macs or 0) < 1e11 else "{:,.0f}", 1e-9),
            _number(figures.flops_per_second, "{:,.1f}", 1e-9),
            _number(figures.share_of_matrix_product, "{:.0%}"),
            f"{figures.bytes / 1e6:,.1f}",
            f"{figures.resident_bytes / 1e6:,.1f}",
        )
    return table


def _print_image(result: Result, console: Console) -> None:
    product, sampler, image = result.matrix_product, result.sampler, result.picture
    parts = ", ".join(f"{name} {seconds(value)}" for name, value in image.seconds_by_component.items())
    rate, weights = product.flops_per_second / 1e9, image.weights_bytes / 1e6
    lines = [
        f"matrix product  {rate:,.0f} GFLOP/s ({product.size}x{product.size}, {product.dtype})",
        f"sampler         {seconds(sampler.seconds_per_step)} a step, {sampler.share_of_network_call:.2%} of a "
        f"denoiser call ({sampler.network_calls} calls)",
        f"whole image     {seconds(image.seconds)} ({parts}), loaded in {seconds(image.load_seconds)}",
        f"peak memory     {_number(image.peak_bytes, '{:,.0f}', 1e-6)} MB, "
        f"{_number(image.peak_to_weights, '{:.2f}')} times the {weights:,.0f} MB of weights in use",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _table(first: str, *others: str) -> Table:
    table = Table()
    table.add_column(first, no_wrap=True)
    for head in others:
        table.add_column(head, justify="right")
    return table


def _number(value: float | None, form: str, scale: float = 1) -> str:
    return _UNKNOWN if value is None else form.format(value * scale)


def _or_unknown(value: int | None) -> str:
    return _UNKNOWN if value is None else str(value)
