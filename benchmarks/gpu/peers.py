"""Whole pictures of Triptych and of diffusers, in turns, in one run.

python -m triptych.benchmarks.gpu.peers eager|compile

In float16 with channels-last weights and fused projections. `compile` begins with the mode that compiles fast, and
writes its figures before it goes on to max-autotune; both use CUDA graphs. The compiler's cache lies in WORK, so that
a run that was cut short goes on faster.
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

ROUNDS = 5 if kit.SIZE == "full" else 1
MODES = ("reduce-overhead", "max-autotune")

Picture = Callable[[int], object]


def diffusers_picture(mode: str | None) -> Picture:
    """steps -> picture; compiled in that mode, if one is given."""
    dtype = torch.float16 if kit.ON_CUDA else torch.float32
    pipe = DiffusionPipeline.from_pretrained(kit.CHECKPOINT, torch_dtype=dtype).to(kit.DEVICE)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    pipe.fuse_qkv_projections()
    for part in (pipe.unet, pipe.vae):
        part.to(memory_format=torch.channels_last)
    if mode is not None:
        how: dict[str, Any] = (
            {"mode": mode} if kit.ON_CUDA else {"backend": "eager"}
        )  # the kit is tried without a compiler
        pipe.unet = torch.compile(pipe.unet, fullgraph=True, **how)
        pipe.vae.decode = torch.compile(pipe.vae.decode, fullgraph=True, **how)
    return lambda steps: pipe(kit.PROMPT, num_inference_steps=steps)


def in_turns(results: kit.Results, name: str, own: Picture, mode: str | None) -> str:
    """Medians of both, and Triptych's share of the peer's time."""
    peer = diffusers_picture(mode)
    for picture in (own, peer):  # compilation, captures and allocations
        start = time.perf_counter()
        picture(2)
        picture(2)
    results.add(f"{name}: first pictures", time.perf_counter() - start)
    for steps in kit.STEPS:
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for times, picture in zip(seconds, (own, peer), strict=True):
                start = time.perf_counter()
                picture(steps)
                times.append(time.perf_counter() - start)
        ours, theirs = (statistics.median(times) for times in seconds)
        figures = {"triptych": ours, "peer": theirs, "share": ours / theirs, "all": seconds}
        results.add(f"{name}, {steps} steps", figures)
    return "done"


def main() -> None:
    """Time, print and write."""
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
