"""PSNR and SSIM, against scikit-image's."""

import numpy as np
import pytest
from skimage import metrics

from triptych.export.verification.image_quality import MOST_DB, psnr, ssim


@pytest.mark.parametrize("noise", [1, 8, 60])
def test_figures_are_those_of_scikit_image(noise: int) -> None:
    random = np.random.default_rng(noise)
    slope = np.linspace(0, 255, 40)[:, None, None] * np.ones((40, 56, 3))
    reference = slope.round().astype(np.uint8)
    image = np.clip(slope + random.normal(0, noise, slope.shape), 0, 255).round().astype(np.uint8)
    assert psnr(image, reference) == pytest.approx(metrics.peak_signal_noise_ratio(reference, image))
    # the whole map, less the border where its windows reach outside
    _, similarity = metrics.structural_similarity(
        reference, image, channel_axis=2, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    assert ssim(image, reference) == pytest.approx(similarity[5:-5, 5:-5].mean())


def test_equal_images() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert (psnr(image, image), ssim(image, image)) == (MOST_DB, 1.0)
