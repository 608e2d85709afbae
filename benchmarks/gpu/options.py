"""The U-Net with every provider option that changes something, one by one, then with all that made it faster.

python -m triptych.benchmarks.gpu.options

Later stages use `best`. An option with outputs below the floor does not count.
"""

from typing import Any

from . import graphs, kit
from .measure import measure

GAIN = 0.995
"""An option is faster if calls in a row take less than this share of the time."""
FLOOR_DB = 40.0

ONE_BY_ONE: dict[str, dict[str, str]] = {
    "CUDA graph": {"enable_cuda_graph": "1"},
    "search HEURISTIC": {"cudnn_conv_algo_search": "HEURISTIC"},
    "bias added apart": {"fuse_conv_bias": "0"},
    "flash attention": {"sdpa_kernel": "1"},
    "memory-efficient attention": {"sdpa_kernel": "2"},
    "tunable": {"tunable_op_enable": "1", "tunable_op_tuning_enable": "1"},
    "arena as requested": {"arena_extend_strategy": "kSameAsRequested"},
    "search DEFAULT": {"cudnn_conv_algo_search": "DEFAULT"},  # last: the fallback mode of cuDNN may be very slow
}
"""Other choices than the runtime's, which are ONNX Runtime's (EXHAUSTIVE search, automatic attention, an arena in
powers of two), except the bias of convolutions.

Options with which ONNX Runtime 1.31.1 makes the same plans and launches of this graph are left out; the arena
differs in its allocations alone.
"""

OTHER_GRAPHS: dict[str, dict[str, str]] = {
    "cuda-apart": {},
    "cuda-conv": {"prefer_nhwc": "1"},
    "portable": {},
    "portable, prefer_nhwc": {"prefer_nhwc": "1"},
}


def main() -> None:
    """Measure; on the CPU, which has no such options, only the graphs."""
    results, here = kit.Results("options"), kit.settings()
    kept = here.work / "unet-outputs.npz"

    def unet(package: str, options: dict[str, str], first: bool = False) -> Any:
        graph = graphs.denoiser(here.package(package))
        comparable = not first and package != "portable"  # that one has other inputs
        return measure(graph, options, keep=kept if first else None, compare=kept if comparable else None)

    own = results.attempt("base", unet, "cuda", {}, True)
    if own is None:
        raise SystemExit("the U-Net does not run: there is nothing to compare options with")
    gained: dict[str, str] = {}
    for name, options in ONE_BY_ONE.items() if here.on_cuda else ():
        found = results.attempt(name, unet, "cuda", options)
        if found is not None and found["in_a_row"] < GAIN * own["in_a_row"] and found["db"] >= FLOOR_DB:
            better = {key: value for key, value in options.items() if key not in gained}  # the first attention stays
            gained |= better
    best, best_package = own["in_a_row"], "cuda"
    best_options: dict[str, str] = {}
    for name, options in {"cuda": {}, **OTHER_GRAPHS}.items():
        package = name.partition(",")[0]
        if not here.package(package).is_dir():
            continue
        together = gained | options
        found = results.attempt(f"{name}, all that gained", unet, package, together)
        if found is not None and found["in_a_row"] < best and found.get("db", FLOOR_DB) >= FLOOR_DB:
            best, best_options, best_package = found["in_a_row"], together, package
    results.add("best", {"seconds": best, "package": best_package, "options": best_options})


if __name__ == "__main__":
    main()
