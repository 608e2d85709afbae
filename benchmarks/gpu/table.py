"""All figures on one screen.

python -m triptych.benchmarks.gpu.table
"""

from typing import Any

from . import kit


def milliseconds(found: dict[str, Any]) -> str:
    """Time of a graph, with other known figures."""
    text = f"{found['in_a_row'] * 1e3:9.3f} ms in a row {found['alone'] * 1e3:9.3f} ms alone"
    text += f" {found['tflops']:7.1f} TFLOP/s" if "tflops" in found else ""
    text += f" {found['db']:6.1f} dB" if "db" in found else ""
    text += f" {found['bytes'] / 2**30:6.1f} GiB" if "bytes" in found else ""
    text += f" {found['kernel']}" if "kernel" in found else ""
    return text + (f", {counted(found['launches'])}" if "launches" in found else "")


def counted(launches: dict[str, int]) -> str:
    """Launches that were counted without a GPU."""
    return f"counted {launches['kernels']} kernels and {launches['copies']} copies"


def seconds(found: dict[str, Any]) -> str:
    """Time of an image."""
    host = f", host {found['host_share']:.1%}" if "host_share" in found else ""
    return f"{found['total']:7.3f} s, {found['per_image']:7.3f} s each{host}"


def in_turns(found: dict[str, Any]) -> str:
    """Time of an image, and of a peer's."""
    return f"{found['triptych']:7.3f} s to {found['peer']:7.3f} s: {found['share']:.2f}"


def profile(found: dict[str, Any]) -> str:
    """Kernels and gaps of a call or a step, or milliseconds by operator."""
    if "ms_by_kind" not in found:
        return ", ".join(f"{name} {value}" for name, value in list(found.items())[:8])
    known = [counted(found[name]) for name in ("counted", "step") if found.get(name)]
    text = f"{found['kernels']:.0f} launches ({' and '.join(known) or 'none counted'}), {found['waits']:.1f} waits, "
    return text + f"{found['busy_ms']:.2f} ms busy, gaps {found['gap_share']:.1%}, {found['ms_by_kind']}"


FORMATS = {
    ("in_a_row", "alone"): milliseconds,
    ("total", "per_image"): seconds,
    ("triptych", "peer"): in_turns,
    ("ms_by_kind",): profile,
}
"""Keys by which a figure is known -> its line."""


def line(found: Any) -> str:
    """A figure in one line, after the error if it has one."""
    if not isinstance(found, dict):
        return brief(found)
    if "skipped" in found:
        return f"skipped: {found['skipped']}"
    error = f"ERROR {found['error'][:120]} " if "error" in found else ""
    rest = {name: value for name, value in found.items() if name != "error"}
    text = next((text for keys, text in FORMATS.items() if rest.keys() >= set(keys)), brief)
    return error + text(rest)


def brief(found: Any) -> str:
    """A value with its floats rounded."""
    if isinstance(found, dict):
        return ", ".join(f"{name} {brief(value)}" for name, value in list(found.items())[:8])
    if isinstance(found, list):
        return " ".join(brief(value) for value in found)
    return f"{found:.4g}" if isinstance(found, float) else str(found)


def main() -> None:
    """Print a section for each stage that has run."""
    shown = {"environment": ("gpu", "torch", "onnxruntime", "cuda", "noise")}
    for stage in ("environment", "demo", "threads", "attention", "components", "options", "images", "peers", "where"):
        figures = {name: found for name, found in kit.read(stage).items() if found != "done"}
        names = [name for name in figures if stage not in shown or name.startswith(shown[stage])]
        if names:
            width = max(map(len, names))
            print(f"-- {stage}", *(f"{name:{width}} {line(figures[name])}" for name in names), sep="\n")


if __name__ == "__main__":
    main()
