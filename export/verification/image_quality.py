"""Image quality of an int8 package: PSNR and SSIM against its checkpoint, their floors, and their record."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from triptych.runtime import TextToImage
from triptych.runtime.errors import VerificationError
from triptych.runtime.noise import noise_source
from triptych.runtime.package.json_file import read_json
from triptych.runtime.package.manifest import MANIFEST

from ..files import write_json
from ..quantization.calibration import Calibration, ReferenceImage

PEAK = 255.0
MOST_DB = 100.0
"""PSNR of equal images, so that the figure stays a number; one grey level in one value of 512x512 is 107."""
WINDOW, SIGMA = 11, 1.5
IMAGES_FLOOR_DB = 30.0
"""Least mean PSNR of the calibration's images; differences above it are visible side by side only."""
SSIM_FLOOR = 0.92
"""Least SSIM of the worst image; below it an image has other contents."""
REDRAWS, CHANGE = 5, 0.01
"""Repetitions of an image below SSIM_FLOOR, and the share by which their noise differs, see `undecided`."""
STABILITY = ((0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2)


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 images [H, W, 3]."""
    error = float(np.mean((image.astype(np.float64) - reference) ** 2))
    return MOST_DB if error == 0 else min(MOST_DB, 10 * math.log10(PEAK**2 / error))


def ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """Structural similarity of two uint8 images [H, W, 3], 1 for equal ones (Wang et al. 2004).

    Gaussian windows of 11x11, sigma 1.5; each colour on its own; the mean over all windows inside the image.
    """
    x, y = image.astype(np.float64), reference.astype(np.float64)
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x = _blurred(x * x) - mean_x**2
    var_y = _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    first, second = STABILITY
    similar = (2 * mean_x * mean_y + first) * (2 * covariance + second)
    return float((similar / ((mean_x**2 + mean_y**2 + first) * (var_x + var_y + second))).mean())


def _blurred(image: np.ndarray) -> np.ndarray:
    """Gaussian mean in every window inside an image [H, W, 3]."""
    line = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    for axis in (0, 1):
        image = sliding_window_view(image, WINDOW, axis) @ (line / line.sum())
    return image


def measure_quality(package: Path, calibration: Calibration) -> dict[str, Any]:
    """Generate the images of a calibration with a package on CPU, and compare them.

    Returns:
        Number and settings of the images, mean and worst PSNR in dB and SSIM, and the number of `undecided` images,
        which the mean includes and the worst does not.
    """
    pipe, run = TextToImage.load(package, device="cpu"), calibration.run
    options: dict[str, Any] = {"num_inference_steps": run.steps, "guidance_scale": run.guidance_scale}
    figures, decided = [], []
    for reference in calibration.images:
        figures.append(_compared(pipe, reference, seed=reference.seed, **options))
        if figures[-1][1] >= SSIM_FLOOR or not undecided(pipe, reference, **options):
            decided.append(figures[-1])
    (psnr_mean, ssim_mean), (psnr_worst, ssim_worst) = np.mean(figures, 0), np.min(decided or figures, 0)
    return {
        "against": "PyTorch, float32",
        "pictures": len(figures),
        "prompts": len({image.prompt for image in calibration.images}),
        "steps": run.steps,
        "guidance_scale": run.guidance_scale,
        "psnr_db": round(float(psnr_mean), 2),
        "psnr_db_worst": round(float(psnr_worst), 2),
        "ssim": round(float(ssim_mean), 4),
        "ssim_worst": round(float(ssim_worst), 4),
        "undecided": len(figures) - len(decided),
    }


def undecided(pipe: TextToImage, reference: ReferenceImage, **options: Any) -> bool:
    """Whether the reference is between two images, so that any rounding decides which one comes out.

    Then most of REDRAWS images from noise that differs by CHANGE are at SSIM_FLOOR or above.
    """
    height, width, _ = reference.pixels.shape
    shape = (1, pipe.model.latents.channels, *pipe.model.latent_size_for(height, width))
    noise = noise_source("torch", reference.seed).randn(shape)
    similar = 0
    for index in range(REDRAWS):
        other = np.random.default_rng(index).standard_normal(shape)
        latents = (math.sqrt(1 - CHANGE**2) * noise + CHANGE * other).astype(np.float32)
        similar += _compared(pipe, reference, latents=latents, **options)[1] >= SSIM_FLOOR
    return similar > REDRAWS / 2


def _compared(pipe: TextToImage, reference: ReferenceImage, **arguments: Any) -> tuple[float, float]:
    """PSNR and SSIM of an image that is generated again."""
    height, width, _ = reference.pixels.shape
    drawn = np.asarray(pipe(reference.prompt, height=height, width=width, **arguments).images[0])
    return psnr(drawn, reference.pixels), ssim(drawn, reference.pixels)


def check_quality(figures: Mapping[str, Any]) -> None:
    """Check figures of `measure_quality` against the floors.

    Raises:
        VerificationError: they are below; the message names them and the remedies.
    """
    if not (figures["psnr_db"] >= IMAGES_FLOOR_DB and figures["ssim_worst"] >= SSIM_FLOOR):  # NaN is below, too
        raise VerificationError(
            f"images in int8 are {figures['psnr_db']:.1f} dB from PyTorch's and the worst has an SSIM of "
            f"{figures['ssim_worst']:.2f}, below the floor of {IMAGES_FLOOR_DB:g} dB and {SSIM_FLOOR:g}; nothing was "
            "published. Calibrate with the prompts, guidance and steps that the model is used with "
            "(--calibration-prompts, ...), take --precision w8, or publish it as it is with --allow-low-quality"
        )


def record(package: Path, measure: str, figures: dict[str, Any]) -> None:
    """Record figures under `quality` in a package's manifest, by the name of the measure.

    Neither the files that the manifest lists nor the package's fingerprint change.
    """
    manifest = read_json(package / MANIFEST)
    manifest["quality"] = manifest.get("quality", {}) | {measure: figures}
    write_json(package / MANIFEST, manifest)
