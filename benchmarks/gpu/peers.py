"""Whole pictures: Triptych, diffusers eager and torch.compile, in turns, in one run.

python peers.py CHECKPOINT PACKAGE DEVICE RESULT.json
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from triptych.runtime import TextToImage

ROUNDS = 5


def diffusers_pipeline(checkpoint: str, device: str, compiled: bool) -> Callable[[int], object]:
    """steps -> picture, in fp16 with channels-last weights and fused projections."""
    dtype = torch.float16 if device == "cuda" else torch.float32
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint, torch_dtype=dtype).to(device)
    pipe.set_progress_bar_config(disable=True)
    if compiled:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
        pipe.fuse_qkv_projections()
        mode = "max-autotune" if device == "cuda" else "default"
        pipe.unet = torch.compile(pipe.unet, mode=mode, fullgraph=True)
        pipe.vae.decode = torch.compile(pipe.vae.decode, mode=mode, fullgraph=True)
    return lambda steps: pipe("a red fox", num_inference_steps=steps)


def main() -> None:
    """Time, print and write."""
    checkpoint, package, device, result = sys.argv[1:]
    steps = 50 if device == "cuda" else 2
    triptych = TextToImage.load(package, device=device)
    peers: dict[str, Callable[[int], object]] = {
        "triptych": lambda n: triptych("a red fox", num_inference_steps=n, seed=0),
        "diffusers eager": diffusers_pipeline(checkpoint, device, compiled=False),
        "diffusers torch.compile": diffusers_pipeline(checkpoint, device, compiled=True),
    }
    for picture in peers.values():  # compilation, captures and allocations
        picture(2)
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(ROUNDS):
        for name, picture in peers.items():
            start = time.perf_counter()
            picture(steps)
            seconds[name].append(time.perf_counter() - start)
    own = statistics.median(seconds["triptych"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:24} {median:7.3f} s for {steps} steps, Triptych takes {own / median:.2f} of it")
    Path(result).write_text(
        json.dumps({"steps": steps, "seconds": seconds, "torch": torch.__version__}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
