"""The same seed several times: how far results are from each other.

On CUDA images are not bit-identical from run to run: ONNX Runtime's GroupNorm adds with atomics, whose order is not
fixed. The figures here are what can be promised there.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from triptych.runtime import TextToImage
from triptych.runtime.pipeline import Output

from . import graphs

RUNS = 5

Draw = Callable[[int], Output]
"""Make an image of a seed."""


def drawing(pipe: TextToImage, prompt: str, steps: int, guidance: float) -> Draw:
    """A function that makes the image of a seed, with as many denoiser calls as steps."""

    def draw(seed: int) -> Output:
        return pipe(prompt, num_inference_steps=steps, guidance_scale=guidance, scheduler="ddim", seed=seed)

    return draw


def spread(outputs: Sequence[Output]) -> dict[str, Any]:
    """The worst of all pairs: `largest` absolute difference of latents and their `db`, and the `equal` share of pixels.

    `psnr` is that of the images, in dB.
    """
    pairs = list(combinations(outputs, 2))
    largest = max(float(np.abs(a.latents - b.latents).max()) for a, b in pairs)
    images = [(_pixels(a), _pixels(b)) for a, b in pairs]
    return {
        "largest": largest,
        "db": min(graphs.signal_to_noise(a.latents, b.latents) for a, b in pairs),
        "psnr": min(peak_signal_to_noise(a, b) for a, b in images),
        "equal": min(float((a == b).mean()) for a, b in images),
    }


def run_to_run(draw: Draw) -> dict[str, Any]:
    """`spread` of the same seed twice in a row, and of RUNS runs."""
    outputs = [draw(0) for _ in range(RUNS)]
    return {"twice": spread(outputs[:2]), f"{RUNS} times": spread(outputs)}


def peak_signal_to_noise(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio of images 0..255 in dB, at most `graphs.MOST_DB`."""
    error = float(np.mean((image - reference) ** 2))
    return graphs.MOST_DB if error == 0 else min(graphs.MOST_DB, float(10 * np.log10(255**2 / error)))


def _pixels(output: Output) -> np.ndarray:
    return np.stack([np.asarray(image, np.float64) for image in output.images])
