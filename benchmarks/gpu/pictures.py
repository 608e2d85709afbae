"""Whole pictures through `TextToImage`, and the share of a step in which the host is in the way.

python -m triptych.benchmarks.gpu.pictures

The scheduler is DDIM: as many network calls as steps. The share is what calls of the U-Net in a row, measured in the
stage `latency`, leave of the loop's time.
"""

import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from triptych.runtime import TextToImage

from . import kit

ROUNDS, WARM_UP_STEPS = 5 if kit.SIZE == "full" else 2, 1


def load(path: Path, **more: str) -> TextToImage:
    """The package on the device, with the provider options that were found best and those given."""
    return TextToImage.load(path, device=kit.DEVICE, provider_options=(kit.best_options() | more) or None)


def figures(pipe: TextToImage, pictures: int, steps: int, call: float | None) -> dict[str, Any]:
    """Medians of a few rounds; `call` is the time of a U-Net call in a row."""
    rounds = [
        pipe(kit.PROMPT, num_inference_steps=steps, scheduler="ddim", seed=0, num_images_per_prompt=pictures).timings
        for _ in range(ROUNDS)
    ]
    result = {name: statistics.median(timings[name] for timings in rounds) for name in rounds[0]}
    loop = result["unet"] + result["sampler"]
    result["per_picture"] = result["total"] / pictures
    if call is not None:
        result["host_share"] = 1 - steps * call / loop
    return result


def measure(results: kit.Results, path: Path, pictures: int) -> str:
    """All steps for one package."""
    key = f"{path.name} unet"
    known = kit.read("latency")
    call = known.get(f"{key}, CUDA graph", known.get(key, {})).get("in_a_row")
    pipe = load(path)
    for steps in (WARM_UP_STEPS, *kit.STEPS):
        results.attempt(f"{pictures} at once, {steps} steps, {path.name}", figures, pipe, pictures, steps, call)
    return "done"


def without_capture() -> dict[str, Any]:
    """The loop's network launched kernel by kernel."""
    pipe = load(kit.best_package(), enable_cuda_graph="0")
    figures(pipe, 1, WARM_UP_STEPS, None)
    return figures(pipe, 1, kit.STEPS[0], None)


def numpy_loop() -> dict[str, Any]:
    """The loop in numpy, latents crossing to the host twice a step."""
    pipe = load(kit.best_package())
    vars(pipe)["_bound"] = False
    figures(pipe, 1, WARM_UP_STEPS, None)
    return figures(pipe, 1, kit.STEPS[0], None)


def in_threads() -> float:
    """The largest difference between pictures made in two threads at once and alone; it should be nothing."""
    pipe = load(kit.best_package())

    def latents(seed: int) -> np.ndarray:
        return pipe(kit.PROMPT, num_inference_steps=kit.STEPS[-1], scheduler="ddim", seed=seed).latents

    alone = [latents(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(latents, (1, 2)))
    return max(float(np.abs(a - b).max()) for a, b in zip(alone, together, strict=True))


def main() -> None:
    """One picture in both dialects, several at once in the cuda dialect, and the loop's choices made otherwise."""
    results = kit.Results("pictures")
    several = [(kit.package("cuda", pictures), pictures) for pictures in kit.PICTURES] if kit.ON_CUDA else []
    plan = dict.fromkeys([(kit.best_package(), 1), *several, (kit.package("portable"), 1)])
    for path, pictures in plan:
        if path.is_dir() and kit.seconds_left() > 30:
            results.attempt(path.name, measure, results, path, pictures)
    if kit.ON_CUDA:
        results.attempt("no CUDA graph", without_capture)
        results.attempt("loop in numpy", numpy_loop)
    results.attempt("two threads, largest difference", in_threads)
    results.finish()


if __name__ == "__main__":
    main()
