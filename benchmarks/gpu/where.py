"""Time of a U-Net call by kind of kernel, and the time that the GPU waits for the host.

python -m triptych.benchmarks.gpu.where

On CUDA the kernels of all libraries in the process are recorded by PyTorch's profiler (CUPTI); on the CPU, and by
operator, ONNX Runtime's own profile is added up.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from . import graphs, kit, launches
from .images import load

CALLS, MOST_KERNELS = 5, 25

KINDS = {
    "attention": r"fmha|flash|attention|sdpa",
    "convolution": r"conv|implicit|xmma_fprop|cudnn.*fprop|nhwckrsc",
    "matrix product": r"gemm|cublas|cutlass|nvjet",
    "group norm": r"GroupNorm",
    "layer norm": r"LayerNorm|cuApply",
    "transpose": r"[Tt]ranspose|permute|nchwToNhwc|nhwcToNchw",
    "concatenation": r"[Cc]oncat",
    "copy": r"[Mm]emcpy|[Mm]emset|copy|Expand",
}
"""Kind -> pattern of its kernels' names, tried in this order; the rest is elementwise work and others."""


def kind_of(kernel: str) -> str:
    """Kind of a kernel, by its name."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, kernel)), "other")


def record(work: Callable[[], None], name: str) -> list[dict[str, Any]]:
    """Trace of all that runs on the device during `work`, and of the calls that launch it."""
    activities = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        work()
        torch.cuda.synchronize()
    trace = kit.settings().work / f"{name}.trace.json"
    profile.export_chrome_trace(str(trace))
    return list(json.loads(trace.read_text())["traceEvents"])


def summary(trace: list[dict[str, Any]], calls: int) -> dict[str, Any]:
    """Milliseconds a call by kind and by kernel, the share of time in which nothing ran, and the number of waits."""
    events = [event for event in trace if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]
    waits = [event for event in trace if event.get("cat") == "cuda_runtime" and "Synchronize" in event["name"]]
    if not events:
        raise RuntimeError("the profiler saw no kernels")
    by_kind: Counter[str] = Counter()
    by_kernel: Counter[str] = Counter()
    for event in events:
        by_kind[kind_of(event["name"])] += event["dur"]
        by_kernel[event["name"][:90]] += event["dur"]
    spans = [(event["ts"], event["ts"] + event["dur"]) for event in events]
    span = max(end for _, end in spans) - min(start for start, _ in spans)
    busy = union(spans)
    return {
        "kernels": len(events) / calls,
        "waits": len(waits) / calls,
        "busy_ms": busy / calls / 1e3,
        "span_ms": span / calls / 1e3,
        "gap_share": 1 - busy / span,
        "ms_by_kind": {name: round(dur / calls / 1e3, 4) for name, dur in by_kind.most_common()},
        "ms_by_kernel": {name: round(dur / calls / 1e3, 4) for name, dur in by_kernel.most_common(MOST_KERNELS)},
    }


def union(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def call(graph: Path, options: dict[str, str]) -> dict[str, Any]:
    """Summary of U-Net calls in a row, with the launches that were counted without a GPU."""
    session = graphs.open_session(graph, options)
    bound = graphs.Bound(session, graphs.random_inputs(session))
    bound.seconds(budget=0.5)

    def calls() -> None:
        for _ in range(CALLS):
            bound.launch()
        bound.wait()

    return summary(record(calls, "call"), CALLS) | {"counted": launches.of("unet")}


def loop() -> dict[str, Any]:
    """Summary of a whole image by its steps: mostly the loop; the text encoder and the decoder run once."""
    pipe, steps = load(kit.best_package()), 10 if kit.settings().full else 2

    def draw() -> None:
        pipe(kit.PROMPT, num_inference_steps=steps, scheduler="ddim", seed=0)

    draw()
    return summary(record(draw, "loop"), steps) | {"counted": launches.of("unet"), "step": launches.of("step graph")}


def by_operator(graph: Path) -> dict[str, float]:
    """Milliseconds a call by operator, in ONNX Runtime's profile; on CUDA that is the time to launch."""
    here = kit.settings()
    session = graphs.open_session(graph, profile=str(here.work / "ort"))
    inputs = graphs.random_inputs(session)
    for _ in range(CALLS):
        session.run(None, inputs)
    times: defaultdict[str, float] = defaultdict(float)
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["args"]["op_name"]] += event["dur"] / CALLS / 1e3
    return dict(sorted(((name, round(ms, 4)) for name, ms in times.items()), key=lambda item: -item[1]))


def main() -> None:
    """Profile the U-Net of the best package, then the loop; on the CPU the U-Net of the cuda package, expanded."""
    results, here = kit.Results("where"), kit.settings()
    graph = graphs.denoiser(kit.best_package() if here.on_cuda else here.package("cuda"))
    if here.on_cuda:
        results.attempt("call", call, graph, kit.best_options())
        results.attempt("call, CUDA graph", call, graph, kit.best_options() | {"enable_cuda_graph": "1"})
        results.attempt("loop, a step", loop)
    results.attempt("by operator", by_operator, graph)
    results.finish()


if __name__ == "__main__":
    main()
