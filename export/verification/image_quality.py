"""Image quality of an int8 package: PSNR and SSIM against its checkpoint, their floor, their record."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from triptych.runtime import TextToImage
from triptych.runtime.errors import VerificationError
from triptych.runtime.noise import noise_source
from triptych.runtime.package.package import MANIFEST, read_json

from ..files import write_json
from ..quantization.calibration import Calibration, ReferenceImage

PEAK = 255.0
MOST_DB = 100.0
"""The PSNR of equal pictures, so that the figure stays a number; one grey level off in one value of 512x512 is 107."""
WINDOW, SIGMA = 11, 1.5
IMAGES_FLOOR_DB = 30.0
"""Least mean PSNR of the calibration's images; what differs above it is seen side by side only."""
SSIM_FLOOR = 0.92
"""Least SSIM of the worst of them; below it an image has other contents."""
REDRAWS, CHANGE = 5, 0.01
"""An image below SSIM_FLOOR is drawn so often again, from noise that differs by that share, see `undecided`."""
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


def measure_quality(package: Path, calibration: Calibration) -> dict[str, Any]:
    """Draw the pictures of a calibration once more, with a package on CPU.

    Returns:
        How many they are, their settings, PSNR in dB and SSIM: the mean, and that of the worst picture; and how many
        are `undecided`, which the worst leaves out and the mean does not.
    """
    pipe, run = TextToImage.load(package, device="cpu"), calibration.run
    options: dict[str, Any] = {"num_inference_steps": run.steps, "guidance_scale": run.guidance_scale}
    figures, decided = [], []
    for wanted in calibration.images:
        figures.append(_compared(pipe, wanted, seed=wanted.seed, **options))
        if figures[-1][1] >= SSIM_FLOOR or not undecided(pipe, wanted, **options):
            decided.append(figures[-1])
    (psnr_mean, ssim_mean), (psnr_worst, ssim_worst) = np.mean(figures, 0), np.min(decided or figures, 0)
    return {
        "against": "PyTorch, float32",
        "pictures": len(figures),
        "prompts": len({picture.prompt for picture in calibration.images}),
        "steps": run.steps,
        "guidance_scale": run.guidance_scale,
        "psnr_db": round(float(psnr_mean), 2),
        "psnr_db_worst": round(float(psnr_worst), 2),
        "ssim": round(float(ssim_mean), 4),
        "ssim_worst": round(float(ssim_worst), 4),
        "undecided": len(figures) - len(decided),
    }


def undecided(pipe: TextToImage, wanted: ReferenceImage, **options: Any) -> bool:
    """Whether a picture that came out otherwise lies between two, so that any rounding decides.

    Most of REDRAWS from noise that differs by CHANGE are then at SSIM_FLOOR or above.
    """
    height, width, _ = wanted.pixels.shape
    shape = (1, pipe.latent_channels, *pipe.latent_size_of(height, width))
    noise = noise_source("torch", wanted.seed).randn(shape)
    like = 0
    for index in range(REDRAWS):
        other = np.random.default_rng(index).standard_normal(shape)
        latents = (math.sqrt(1 - CHANGE**2) * noise + CHANGE * other).astype(np.float32)
        like += _compared(pipe, wanted, latents=latents, **options)[1] >= SSIM_FLOOR
    return like > REDRAWS / 2


def _compared(pipe: TextToImage, wanted: ReferenceImage, **arguments: Any) -> tuple[float, float]:
    """PSNR and SSIM of a picture that is drawn again."""
    height, width, _ = wanted.pixels.shape
    drawn = np.asarray(pipe(wanted.prompt, height=height, width=width, **arguments).images[0])
    return psnr(drawn, wanted.pixels), ssim(drawn, wanted.pixels)


def check_quality(figures: Mapping[str, Any]) -> None:
    """Refuse figures of `measure_quality` that are below the floor.

    Raises:
        VerificationError: says by how much, and what would help.
    """
    if not (figures["psnr_db"] >= IMAGES_FLOOR_DB and figures["ssim_worst"] >= SSIM_FLOOR):  # NaN is below, too
        raise VerificationError(
            f"images in int8 are {figures['psnr_db']:.1f} dB from PyTorch's and the worst has an SSIM of "
            f"{figures['ssim_worst']:.2f}, below the floor of {IMAGES_FLOOR_DB:g} dB and {SSIM_FLOOR:g}; nothing was "
            "published. Calibrate with the prompts, guidance and steps that the model is used with "
            "(--calibration-prompts, ...), take --precision w8, or publish it as it is with --allow-low-quality"
        )


def record(package: Path, measure: str, figures: dict[str, Any]) -> None:
    """Say in a package's manifest what was measured of its pictures: `quality`, by the name of the measure.

    No file that the manifest lists changes, nor does the package's fingerprint.
    """
    manifest = read_json(package / MANIFEST)
    manifest["quality"] = manifest.get("quality", {}) | {measure: figures}
    write_json(package / MANIFEST, manifest)
