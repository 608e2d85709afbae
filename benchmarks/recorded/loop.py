"""Time of the denoising loop without the denoiser, per call, compared with diffusers' schedulers.

    python benchmarks/recorded/loop.py [--json FILE]

The denoiser returns the same output at once, so that only the loop takes time: `denoise` here, `scale_model_input` and
`step` in diffusers, both with float32 latents of one image. Whole runs of the two alternate, and the fastest counts, as
other processes slow down the others. The time to compute timesteps is not included.

    {"date", "versions", "cpu", "load_before", "shape", "steps", "repeats",
     "samplers": {NAME: {"calls", "microseconds", "diffusers_microseconds", "ratio"}}}
"""

import argparse
import datetime
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from triptych.benchmarks.machine import cpu_model, versions
from triptych.runtime.sampling import Sampler, denoise, with_scheduler

SHAPE = (1, 4, 64, 64)
STEPS = 20
REPEATS = 300
NAMES = ("ddim", "euler", "heun", "lms", "pndm", "dpmpp_2m", "dpmpp_3m", "deis", "unipc")
CONFIG = {  # of Stable Diffusion 1.5
    "_class_name": "PNDMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}


def measure(name: str, repeats: int = REPEATS) -> dict[str, float]:
    """Microseconds per denoiser call of a sampler and of diffusers' scheduler with the same configuration."""
    config = with_scheduler(CONFIG, name)
    sampler = Sampler.from_config(config, num_inference_steps=STEPS)
    scheduler = getattr(diffusers, config["_class_name"]).from_config(config)
    noise = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    output = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    ours = theirs = float("inf")
    for _ in range(repeats):
        ours = min(ours, _seconds(_run, sampler, noise, output))
        scheduler.set_timesteps(STEPS)
        latents = torch.from_numpy(noise) * scheduler.init_noise_sigma
        theirs = min(theirs, _seconds(_run_diffusers, scheduler, latents, torch.from_numpy(output)))
    calls = len(sampler)
    return {
        "calls": calls,
        "microseconds": round(ours / calls * 1e6, 1),
        "diffusers_microseconds": round(theirs / calls * 1e6, 1),
        "ratio": round(theirs / ours, 2),
    }


def _run(sampler: Sampler, noise: np.ndarray, output: np.ndarray) -> None:
    for _ in denoise(lambda latents, timestep: output, noise, sampler):
        pass


def _run_diffusers(scheduler: Any, latents: torch.Tensor, output: torch.Tensor) -> None:
    for timestep in scheduler.timesteps:
        scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(output, timestep, latents, return_dict=False)[0]


def _seconds(call: Callable[..., None], *arguments: Any) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    load_before = os.getloadavg()[0]
    samplers = {name: measure(name) for name in NAMES}
    figures = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {**versions(), "torch": version("torch"), "diffusers": version("diffusers")},
        "cpu": cpu_model(),
        "load_before": round(load_before, 2),
        "shape": SHAPE,
        "steps": STEPS,
        "repeats": REPEATS,
        "samplers": samplers,
    }
    for name, found in samplers.items():
        print(
            f"{name:10} {found['microseconds']:7.1f} us a call, diffusers {found['diffusers_microseconds']:7.1f} us "
            f"({found['ratio']:.1f} times as long)"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
