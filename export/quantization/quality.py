"""How near the pictures of a package are to those of its checkpoint: PSNR and SSIM."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from triptych.runtime import TextToImage

from .calibration import SCALE, STEPS, Drawn

PEAK = 255.0
MOST_DB = 100.0
"""The PSNR of equal pictures, so that the figure stays a number; one grey level off in one value of 512x512 is 107."""
WINDOW, SIGMA = 11, 1.5
STABILITY = ((0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2)


def psnr(picture: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 pictures [H, W, 3]."""
    error = float(np.mean((picture.astype(np.float64) - reference) ** 2))
    return MOST_DB if error == 0 else min(MOST_DB, 10 * math.log10(PEAK**2 / error))


def ssim(picture: np.ndarray, reference: np.ndarray) -> float:
    """Structural similarity of two uint8 pictures [H, W, 3], 1 for equal ones (Wang et al. 2004).

    A Gaussian window of 11x11, sigma 1.5; each colour on its own; the mean over all windows inside the picture.
    """
    x, y = picture.astype(np.float64), reference.astype(np.float64)
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x = _blurred(x * x) - mean_x**2
    var_y = _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    first, second = STABILITY
    similar = (2 * mean_x * mean_y + first) * (2 * covariance + second)
    return float((similar / ((mean_x**2 + mean_y**2 + first) * (var_x + var_y + second))).mean())


def _blurred(picture: np.ndarray) -> np.ndarray:
    """The Gaussian mean in every window that lies inside of a picture [H, W, 3]."""
    line = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    for axis in (0, 1):
        picture = sliding_window_view(picture, WINDOW, axis) @ (line / line.sum())
    return picture


def measure_quality(package: Path, references: Sequence[Drawn]) -> dict[str, Any]:
    """Draw the reference pictures once more, with a package on CPU.

    Returns:
        How many they are, their settings, and PSNR in dB and SSIM: the mean, and that of the worst picture.
    """
    pipe = TextToImage.load(package, device="cpu")
    decibels, similarities = [], []
    for wanted in references:
        height, width, _ = wanted.pixels.shape
        size = {"height": height, "width": width}
        out = pipe(wanted.prompt, num_inference_steps=STEPS, guidance_scale=SCALE, seed=wanted.seed, **size)
        drawn = np.asarray(out.images[0])
        decibels.append(psnr(drawn, wanted.pixels))
        similarities.append(ssim(drawn, wanted.pixels))
    return {
        "against": "PyTorch, float32",
        "pictures": len(references),
        "steps": STEPS,
        "guidance_scale": SCALE,
        "psnr_db": round(float(np.mean(decibels)), 2),
        "psnr_db_worst": round(min(decibels), 2),
        "ssim": round(float(np.mean(similarities)), 4),
        "ssim_worst": round(min(similarities), 4),
    }
