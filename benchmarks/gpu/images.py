"""Whole images through `TextToImage`, and the host's share of a step.

python -m triptych.benchmarks.gpu.images

The scheduler is DDIM: as many U-Net calls as steps. The host's share is the part of the loop's time that calls of the
U-Net in a row, measured in the stage `components`, do not take.
"""

import statistics
from pathlib import Path
from typing import Any

from triptych.runtime import TextToImage

from . import kit

WARM_UP_STEPS = 1
SECONDS = 30.0
"""Seconds that the figures of one package take at the published size."""


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
    result["per_image"] = result["total"] / images
    if call is not None:
        result["host_share"] = 1 - steps * call / loop
    return result


def measure(results: kit.Results, path: Path, images: int) -> str:
    """Add figures of one package for each number of steps."""
    key = f"{path.name} unet"
    known = kit.read("components")
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


def main() -> None:
    """Measure one image in both operator sets, several at once in that of cuda, and a loop without a CUDA graph."""
    results, here = kit.Results("images"), kit.settings()
    several = [(here.package("cuda", images), images) for images in here.batches] if here.on_cuda else []
    plan = dict.fromkeys([(kit.best_package(), 1), *several, (here.package("portable"), 1)])
    expected = SECONDS if here.full else 0.0
    for path, images in plan:
        if path.is_dir():
            results.attempt(path.name, measure, results, path, images, expected=expected)
    if here.on_cuda:
        results.attempt("no CUDA graph", without_capture, expected=expected)
    results.finish()


if __name__ == "__main__":
    main()
