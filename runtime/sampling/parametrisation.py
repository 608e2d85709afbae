"""Prediction types of denoisers, and their conversion into each other, as two scalars a step.

With x = alpha x0 + sigma eps as the denoiser is fed it:

    epsilon          eps
    sample           x0
    v_prediction     alpha eps - sigma x0 (Salimans and Ho 2022, section 4)
    flow_prediction  eps - x0, the velocity of rectified flow (Liu, Gong and Liu 2023, eq. 1, back in time)
    reversed_flow    x0 - eps
    edm              F of  x0 = c_skip x / c_in + c_out F  (Karras et al. 2022, table 1), where alpha is c_in
    edm_v            -F
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Prediction = Literal["epsilon", "sample", "v_prediction", "flow_prediction", "reversed_flow", "edm", "edm_v"]
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)


def components(prediction: Prediction, alpha: float, sigma: float) -> tuple[float, float]:
    """The prediction as a combination of (x0, eps)."""
    match prediction:
        case "sample":
            return 1.0, 0.0
        case "epsilon":
            return 0.0, 1.0
        case "v_prediction":
            return -sigma, alpha
        case "flow_prediction":
            return -1.0, 1.0
        case "reversed_flow":
            return 1.0, -1.0
        case "edm":
            of_x0, of_eps = components("edm_v", alpha, sigma)
            return -of_x0, -of_eps
        case "edm_v":  # sigma_data^2 alpha^2 + sigma^2 = 1, so that data of that deviation make x one of variance 1
            data = (1 - sigma**2) ** 0.5
            return -sigma * alpha / data, data


def convert(source: Prediction, target: Prediction, alpha: float, sigma: float) -> tuple[float, float]:
    """(p, q) with  target = p x + q source.  Infinite or NaN where alpha or sigma is 0 and x has no part of it."""
    if source == target:
        return 0.0, 1.0
    of_x, of_source, of_target = (alpha, sigma), components(source, alpha, sigma), components(target, alpha, sigma)
    determinant = np.float64(of_x[0] * of_source[1] - of_x[1] * of_source[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = (of_target[0] * of_source[1] - of_target[1] * of_source[0]) / determinant
        q = (of_x[0] * of_target[1] - of_x[1] * of_target[0]) / determinant
    return float(p), float(q)


@dataclass(frozen=True)
class Clip:
    """Clips x0 to [-bound, bound]."""

    bound: float

    def __call__(self, x0: np.ndarray) -> np.ndarray:
        """X0, clipped, float [B, ...]."""
        clipped: np.ndarray = np.clip(x0, -self.bound, self.bound)
        return clipped


@dataclass(frozen=True)
class DynamicThreshold:
    """Dynamic thresholding of x0 (Saharia et al. 2022, section 2.3), each image by itself.

    Attributes:
        ratio: the quantile of |x0| that becomes the threshold.
        largest: the threshold is at least 1 and at most this.
    """

    ratio: float
    largest: float

    def __call__(self, x0: np.ndarray) -> np.ndarray:
        """X0, thresholded, float [B, ...]."""
        flat = x0.reshape(len(x0), -1)
        threshold = np.quantile(np.abs(flat), self.ratio, axis=1, keepdims=True)
        threshold = np.minimum(np.maximum(threshold, 1.0), self.largest).astype(np.float32)
        thresholded: np.ndarray = np.clip(flat, -threshold, threshold) / threshold
        return thresholded.reshape(x0.shape)


Limit = Clip | DynamicThreshold
