"""Whole images of Triptych and of diffusers, in turns, in one run.

python -m triptych.benchmarks.gpu.peers eager|compile

In float16 with channels-last weights and fused projections. `compile` begins with the mode that compiles fast, and
writes its figures before it goes on to max-autotune; both use CUDA graphs. The compiler's cache lies in `work`, so
that a run after one that was cut short is faster.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler, DiffusionPipeline

from . import kit
from .pictures import load

MODES = ("reduce-overhead", "max-autotune")

Draw = Callable[[int], object]
"""Make an image in so many steps."""


def diffusers_draw(mode: str | None) -> Draw:
    """The pipeline of diffusers, compiled in a mode unless it is None."""
    here = kit.settings()
    dtype = torch.float16 if here.on_cuda else torch.float32
    pipe = DiffusionPipeline.from_pretrained(here.checkpoint, torch_dtype=dtype).to(here.device)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    pipe.fuse_qkv_projections()
    for part in (pipe.unet, pipe.vae):
        part.to(memory_format=torch.channels_last)
    if mode is not None:
        how: dict[str, Any] = (
            {"mode": mode} if here.on_cuda else {"backend": "eager"}
        )  # the kit is tried without a compiler
        pipe.unet = torch.compile(pipe.unet, fullgraph=True, **how)
        pipe.vae.decode = torch.compile(pipe.vae.decode, fullgraph=True, **how)
    return lambda steps: pipe(kit.PROMPT, num_inference_steps=steps)


def in_turns(results: kit.Results, name: str, own: Draw, mode: str | None) -> str:
    """Add medians of both, and Triptych's share of the peer's time."""
    here = kit.settings()
    peer = diffusers_draw(mode)
    for draw in (own, peer):  # compilation, captures and allocations
        start = time.perf_counter()
        draw(2)
        draw(2)
    results.add(f"{name}: first pictures", time.perf_counter() - start)
    for steps in here.steps:
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(5 if here.full else 1):
            for times, draw in zip(seconds, (own, peer), strict=True):
                start = time.perf_counter()
                draw(steps)
                times.append(time.perf_counter() - start)
        ours, theirs = (statistics.median(times) for times in seconds)
        figures = {"triptych": ours, "peer": theirs, "share": ours / theirs, "all": seconds}
        results.add(f"{name}, {steps} steps", figures)
    return "done"


def main() -> None:
    """Measure, print and write."""
    (which,) = sys.argv[1:]
    results = kit.Results(f"peers-{which}")
    pipe = load(kit.best_package())

    def own(steps: int) -> object:
        return pipe(kit.PROMPT, num_inference_steps=steps, scheduler="ddim", seed=0)

    for mode in (None,) if which == "eager" else MODES:
        name = "diffusers eager" if mode is None else f"torch.compile {mode}"
        results.attempt(name, in_turns, results, name, own, mode)
        torch.compiler.reset()
    results.finish()


if __name__ == "__main__":
    main()
