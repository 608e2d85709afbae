"""All figures on one screen.

python -m triptych.benchmarks.gpu.table
"""

from typing import Any

from . import kit


def milliseconds(figures: dict[str, Any]) -> str:
    """A component's figures, or the error in place of them."""
    if "error" in figures:
        return str(figures["error"])[:80]
    text = f"{figures['in_a_row'] * 1e3:9.2f} ms in a row {figures['alone'] * 1e3:9.2f} ms alone"
    text += f" {figures['tflops']:7.1f} TFLOP/s" if "tflops" in figures else ""
    text += f" {figures['db']:6.1f} dB" if "db" in figures else ""
    return text + (f" {figures['bytes'] / 2**30:6.1f} GiB" if "bytes" in figures else "")


def section(title: str, lines: list[str]) -> None:
    """Print lines under a title; nothing if there are no lines."""
    if lines:
        print(f"-- {title}", *lines, sep="\n")


def main() -> None:
    """Print a section for each stage that has run."""
    environment = kit.read("environment")
    section("machine", [str(environment.get(key)) for key in ("gpu", "torch", "onnxruntime") if key in environment])
    section("correctness", [f"{name:16} {value}" for name, value in kit.read("correctness").items()])
    section("latency", [f"{name:36} {milliseconds(found)}" for name, found in kit.read("latency").items()])
    options = kit.read("options")
    section("options", [f"{n:44} {milliseconds(found)}" for n, found in options.items() if n != "best"])
    section("best", [str(options["best"])] if "best" in options else [])
    images = {name: found for name, found in kit.read("pictures").items() if isinstance(found, dict)}
    section("pictures", [f"{name:44} {_seconds(found)}" for name, found in images.items() if "total" in found])
    peers = {**kit.read("peers-eager"), **kit.read("peers-compile")}
    section(
        "peers",
        [
            f"{name:44} {found['triptych']:7.3f} s to {found['peer']:7.3f} s: {found['share']:.2f}"
            for name, found in peers.items()
            if isinstance(found, dict) and "share" in found
        ],
    )
    section("where", [f"{name}: {_brief(found)}" for name, found in kit.read("where").items()])


def _seconds(found: dict[str, Any]) -> str:
    host = f", host {found['host_share']:.1%}" if "host_share" in found else ""
    return f"{found['total']:7.3f} s, {found['per_picture']:7.3f} s each{host}"


def _brief(found: dict[str, Any]) -> str:
    if "ms_by_kind" not in found:
        return ", ".join(f"{name} {value}" for name, value in list(found.items())[:8])
    return f"{found['busy_ms']:.2f} ms busy, gaps {found['gap_share']:.1%}, {found['ms_by_kind']}"


if __name__ == "__main__":
    main()
