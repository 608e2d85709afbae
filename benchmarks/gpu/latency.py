"""Latency of every component in every package that is there: of a call with a wait after it, and of calls in a row.

python -m triptych.benchmarks.gpu.latency

Beside the seconds stands the arithmetic rate: 2 MACs / seconds, MACs being those that the package counts.
"""

from pathlib import Path
from typing import Any

from triptych.runtime.package.package import open_package

from . import kit
from .export import VARIANTS
from .measure import measure

GRAPH = {"enable_cuda_graph": "1"}


def latency(path: Path, component: str, rows: int, options: dict[str, str]) -> dict[str, Any]:
    """Figures of one component, for `rows` rows."""
    package = open_package(path)
    figures = measure(package.graph(component), options)
    macs = package.manifest.recorded["components"][component]["macs"] * rows
    return figures | {"tflops": 2e-12 * macs / figures["in_a_row"]}


def main() -> None:
    """Measure the main packages whole, of the others the U-Net; on CUDA without a CUDA graph and with one."""
    here = kit.settings()
    results = kit.Results("latency")
    whole = [path for path in (here.package("cuda"), here.package("portable")) if path.is_dir()]
    plan = [(path, component, 1) for path in whole for component in sorted(open_package(path).components, reverse=True)]
    plan += [(here.package("cuda", images), "unet", images) for images in here.batches[1:]]
    plan += [(here.package(variant), "unet", 1) for variant in VARIANTS]
    for path, component, images in plan:
        if not path.is_dir():
            continue
        rows = images * kit.GUIDED if component == "unet" else 1
        key = f"{path.name} {component}"
        results.attempt(key, latency, path, component, rows, here.provider_options)
        if here.on_cuda and component in ("unet", "vae_decoder"):
            captured = here.provider_options | GRAPH
            results.attempt(f"{key}, CUDA graph", latency, path, component, rows, captured)
    results.finish()


if __name__ == "__main__":
    main()
