"""Every component of every package that is there: latency, and outputs against the CPU.

python -m triptych.benchmarks.gpu.components

Latency is that of a call with a wait after it, and of calls in a row; next to it are the arithmetic rate, 2 MACs /
seconds, with the MACs that the package counts, and the launches counted without a GPU, see `launches`. Outputs of the
cuda package, in float16, must come within FLOOR_DB of the CPU, which computes the same graph, its operators expanded.
"""

from pathlib import Path
from typing import Any

import numpy as np

from triptych.runtime.package.package import family_of, open_package

from . import graphs, kit, launches
from .export import VARIANTS
from .measure import measure

GRAPH = {"enable_cuda_graph": "1"}
FLOOR_DB = 40.0
SECONDS = 12.0
"""Seconds that one figure takes at the published size, with the start of its process."""
CPU_SECONDS = 40.0
"""The same with a call on the CPU."""


def latency(path: Path, component: str, images: int, options: dict[str, str]) -> dict[str, Any]:
    """Figures of one component, for this many images; the outputs are kept for `against_cpu`."""
    package = open_package(path)
    figures = measure(graphs.component(path, component), options, keep=_outputs(path, component))
    rows = images * kit.GUIDED if component == family_of(package).denoiser else 1
    macs = package.manifest.recorded["components"][component]["macs"] * rows
    figures |= {"tflops": 2e-12 * macs / figures["in_a_row"]}
    counted = launches.of(component) if path == kit.settings().package("cuda") else None
    return figures | ({} if counted is None else {"launches": counted})


def against_cpu(path: Path, component: str) -> dict[str, Any]:
    """Signal-to-noise ratio of the outputs that `latency` kept against the CPU's, with an error below the floor."""
    session = graphs.open_session(graphs.component(path, component), device="cpu")
    names = [spec.name for spec in session.get_outputs()]
    reference = dict(zip(names, session.run(None, graphs.random_inputs(session)), strict=True))
    with np.load(_outputs(path, component)) as kept:
        decibels = graphs.decibels(dict(kept), reference)
    return {"db": decibels} | ({"error": f"below the floor of {FLOOR_DB:g} dB"} if decibels < FLOOR_DB else {})


def _outputs(path: Path, component: str) -> Path:
    return kit.settings().work / f"{path.name}-{component}.npz"


def main() -> None:
    """Measure the denoiser first, then the main packages whole, then those with another denoiser; then compare."""
    here = kit.settings()
    results = kit.Results("components")
    whole = [path for path in (here.package("cuda"), here.package("portable")) if path.is_dir()]
    if not whole:
        raise SystemExit("there is no package: run the stage export-cuda")
    unet = family_of(open_package(whole[0])).denoiser
    plan = [
        (path, name, 1) for path in whole for name in sorted(open_package(path).components, key=lambda n: n != unet)
    ]
    plan += [(here.package("cuda", images), unet, images) for images in here.batches[1:]]
    plan += [(here.package(variant), unet, 1) for variant in VARIANTS]
    expected = SECONDS if here.full else 0.0
    for path, component, images in [entry for entry in plan if entry[0].is_dir()]:
        key = f"{path.name} {component}"
        if here.on_cuda and component in (unet, "vae_decoder"):
            results.attempt(f"{key}, CUDA graph", latency, path, component, images, GRAPH, expected=expected)
        results.attempt(key, latency, path, component, images, {}, expected=expected)
    expected = CPU_SECONDS if here.full else 0.0
    for component in open_package(whole[0]).components if whole[0] == here.package("cuda") else ():
        if _outputs(whole[0], component).is_file():
            results.attempt(f"{component}, dB", against_cpu, whole[0], component, expected=expected)
    results.finish()


if __name__ == "__main__":
    main()
