"""Whole images of Triptych and of diffusers, alternating, in one run.

python -m triptych.benchmarks.gpu.peers

In float16 with channels-last weights and fused projections: eager, then by torch.compile in the mode that compiles
fast, the U-Net alone and with the decoder, then in max-autotune; both modes use CUDA graphs. Figures are written as
they come. The compiler's cache is in `work`, so that a run after one that was cut short is faster.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler, DiffusionPipeline

from . import kit
from .images import load

MODES = ("reduce-overhead", "max-autotune")
PARTS = ("unet", "unet and vae")
"""What is compiled."""
SECONDS = {"reduce-overhead": 60.0, "max-autotune": 200.0}
"""Seconds that compilation and images take at the published size, by mode."""

Draw = Callable[[int], object]
"""Make an image in this many steps."""


class Peer:
    """The pipeline of diffusers, which is compiled part by part."""

    def __init__(self) -> None:
        here = kit.settings()
        dtype = torch.float16 if here.on_cuda else torch.float32
        self._pipe = DiffusionPipeline.from_pretrained(here.checkpoint, torch_dtype=dtype).to(here.device)
        self._pipe.scheduler = DDIMScheduler.from_config(self._pipe.scheduler.config)
        self._pipe.set_progress_bar_config(disable=True)
        self._pipe.fuse_qkv_projections()
        self._eager = {"unet": self._pipe.unet, "vae": self._pipe.vae.decode}
        for part in (self._pipe.unet, self._pipe.vae):
            part.to(memory_format=torch.channels_last)

    def compile(self, mode: str, parts: str) -> None:
        """Compile the U-Net, and the decoder if `parts` has it; the CPU tries the kit without a compiler."""
        torch.compiler.reset()
        how: dict[str, Any] = {"mode": mode} if kit.settings().on_cuda else {"backend": "eager"}
        self._pipe.unet = torch.compile(self._eager["unet"], fullgraph=True, **how)
        decode = self._eager["vae"]
        self._pipe.vae.decode = torch.compile(decode, fullgraph=True, **how) if "vae" in parts else decode

    def draw(self, steps: int) -> object:
        """Make an image."""
        return self._pipe(kit.PROMPT, num_inference_steps=steps)


def in_turns(results: kit.Results, name: str, own: Draw, peer: Draw) -> str:
    """Add medians of both, and Triptych's share of the peer's time."""
    here = kit.settings()
    for title, draw in (("Triptych", own), (name, peer)):  # compilation, captures and allocations
        start = time.perf_counter()
        draw(2)
        draw(2)
        results.add(f"{name}: first images of {title}", time.perf_counter() - start)
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
    results, here = kit.Results("peers"), kit.settings()
    pipe = load(kit.best_package())
    peer = Peer()

    def own(steps: int) -> object:
        return pipe(kit.PROMPT, num_inference_steps=steps, scheduler="ddim", seed=0)

    def compiled(name: str, mode: str, parts: str) -> str:
        peer.compile(mode, parts)
        return in_turns(results, name, own, peer.draw)

    results.attempt("diffusers eager", in_turns, results, "diffusers eager", own, peer.draw)
    for mode in MODES:
        for parts in PARTS:
            name = f"torch.compile {mode}, {parts}"
            results.attempt(name, compiled, name, mode, parts, expected=SECONDS[mode] if here.full else 0.0)
    results.finish()


if __name__ == "__main__":
    main()
