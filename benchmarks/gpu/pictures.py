"""Whole images through `TextToImage`, and the host's share of a step.

python -m triptych.benchmarks.gpu.pictures

The scheduler is DDIM: as many U-Net calls as steps. The host's share is the part of the loop's time that calls of the
U-Net in a row, measured in the stage `latency`, do not take.
"""

import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from triptych.runtime import TextToImage

from . import kit

WARM_UP_STEPS = 1


def load(path: Path, **options: str) -> TextToImage:
    """Load a package on the device, with the best provider options known and further ones."""
    return TextToImage.load(path, device=kit.settings().device, provider_options=(kit.best_options() | options) or None)


def figures(pipe: TextToImage, images: int, steps: int, call: float | None) -> dict[str, Any]:
    """Medians of a few rounds; `call` is the time of a U-Net call in a row."""
    rounds = [
        pipe(kit.PROMPT, num_inference_steps=steps, scheduler="ddim", seed=0, num_images_per_prompt=images).timings
        for _ in range(5 if kit.settings().full else 2)
    ]
    result = {name: statistics.median(timings[name] for timings in rounds) for name in rounds[0]}
    loop = result["unet"] + result["sampler"]
    result["per_picture"] = result["total"] / images
    if call is not None:
        result["host_share"] = 1 - steps * call / loop
    return result


def measure(results: kit.Results, path: Path, images: int) -> str:
    """Add figures of one package for each number of steps."""
    key = f"{path.name} unet"
    known = kit.read("latency")
    call = known.get(f"{key}, CUDA graph", known.get(key, {})).get("in_a_row")
    pipe = load(path)
    for steps in (WARM_UP_STEPS, *kit.settings().steps):
        results.attempt(f"{images} at once, {steps} steps, {path.name}", figures, pipe, images, steps, call)
    return "done"


def without_capture() -> dict[str, Any]:
    """Figures of a loop that launches the U-Net kernel by kernel."""
    pipe = load(kit.best_package(), enable_cuda_graph="0")
    figures(pipe, 1, WARM_UP_STEPS, None)
    return figures(pipe, 1, kit.settings().steps[0], None)


def numpy_loop() -> dict[str, Any]:
    """Figures of the loop in numpy, for which latents cross to the host twice a step."""
    pipe = load(kit.best_package())
    pipe._bound = False
    figures(pipe, 1, WARM_UP_STEPS, None)
    return figures(pipe, 1, kit.settings().steps[0], None)


def in_threads() -> float:
    """Largest difference between latents made in two threads at once and alone; it should be 0."""
    pipe, steps = load(kit.best_package()), kit.settings().steps[-1]

    def latents(seed: int) -> np.ndarray:
        return pipe(kit.PROMPT, num_inference_steps=steps, scheduler="ddim", seed=seed).latents

    alone = [latents(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(latents, (1, 2)))
    return max(float(np.abs(a - b).max()) for a, b in zip(alone, together, strict=True))


def main() -> None:
    """Measure one image in both operator sets, several at once in that of cuda, and other choices of the loop."""
    results, here = kit.Results("pictures"), kit.settings()
    several = [(here.package("cuda", images), images) for images in here.batches] if here.on_cuda else []
    plan = dict.fromkeys([(kit.best_package(), 1), *several, (here.package("portable"), 1)])
    for path, images in plan:
        if path.is_dir() and kit.seconds_left() > 30:
            results.attempt(path.name, measure, results, path, images)
    if here.on_cuda:
        results.attempt("no CUDA graph", without_capture)
        results.attempt("loop in numpy", numpy_loop)
    results.attempt("two threads, largest difference", in_threads)
    results.finish()


if __name__ == "__main__":
    main()
