"""Timestep spacings and noise-level grids."""

from math import gamma, log

import numpy as np

from ...errors import SamplerError

_RHO = 7.0  # Karras et al. 2022, eq. 5
_BETA_SHAPE = 0.6  # both parameters of the beta distribution (Lee et al. 2024, arXiv 2407.12173)
_BETA_TERMS = 60  # 0.5^60 is less than float64 can resolve
_BETA_ITERATIONS = 8


def spaced(spacing: str, count: int, steps: int, offset: int, *, last: int | None = None, extra: int = 0) -> np.ndarray:
    """Timesteps in decreasing order, float64 [steps], by the spacings of Lin et al. 2023, table 2.

    Args:
        spacing: leading, linspace or trailing.
        count: training timesteps.
        steps: number of timesteps to take.
        offset: added to every timestep (leading only).
        last: training timesteps in use, where the noisiest are cut off.
        extra: points more that leading and linspace lay out, at the clean end, and do not use.

    trailing counts down in steps of `count / steps`, in floating point: for some counts (61 of 1000) it comes
    out one longer, ending in -1, in diffusers and so here.
    """
    last = count if last is None else last
    points = steps + extra
    match spacing:
        case "linspace":
            return np.linspace(0, last - 1, points)[::-1][:steps].copy()
        case "leading":
            return (np.arange(points) * (last // points))[::-1][:steps] + float(offset)
        case _:
            return np.arange(last, 0, -count / steps).round() - 1


def require_decreasing(values: np.ndarray, what: str, steps: int, count: int) -> None:
    """Refuse more steps than there are training timesteps to choose from."""
    if (np.diff(values) >= 0).any():
        raise SamplerError(
            f"num_inference_steps={steps} is too many: the {what} repeat; the schedule has {count} training timesteps"
        )


def require_trained(timesteps: np.ndarray, steps: int, count: int) -> None:
    """Refuse timesteps noisier than the noisiest that the denoiser was trained on."""
    if timesteps.max() > count - 1:
        raise SamplerError(
            f"num_inference_steps={steps} with this steps_offset begins at timestep {timesteps.max():g}; "
            f"the last training timestep is {count - 1}"
        )


def karras(largest: float, smallest: float, steps: int) -> np.ndarray:
    """Noise levels sigma / alpha that are even in sigma^(1/7) (Karras et al. 2022, eq. 5)."""
    ramp = np.linspace(0, 1, steps)
    high, low = largest ** (1 / _RHO), smallest ** (1 / _RHO)
    levels: np.ndarray = (high + ramp * (low - high)) ** _RHO
    return levels


def exponential(largest: float, smallest: float, steps: int) -> np.ndarray:
    """Noise levels sigma / alpha that are even in log sigma."""
    return np.exp(np.linspace(log(largest), log(smallest), steps))


def beta(largest: float, smallest: float, steps: int) -> np.ndarray:
    """Noise levels sigma / alpha by the quantiles of a beta distribution, dense at both ends (Lee et al. 2024)."""
    return smallest + symmetric_beta_quantile(1 - np.linspace(0, 1, steps), _BETA_SHAPE) * (largest - smallest)


def symmetric_beta_quantile(probabilities: np.ndarray, shape: float) -> np.ndarray:
    """Quantiles of the distribution Beta(shape, shape), float64 [n].

    By Newton's method, in the logarithm of x, on the power series of the incomplete beta function (Abramowitz and
    Stegun 26.5.4), which halves its terms at least for x up to 1/2; the other half mirrors it.
    """
    lower = np.minimum(probabilities, 1 - probabilities)
    order = np.arange(1, _BETA_TERMS)
    terms = np.cumprod(np.append(1.0, (order - shape) / order)) / (shape + np.arange(_BETA_TERMS))
    with np.errstate(divide="ignore"):
        target = np.log(lower) + 2 * np.log(gamma(shape)) - np.log(gamma(2 * shape))
    log_x = np.minimum((target + np.log(shape)) / shape, np.log(0.5))
    for _ in range(_BETA_ITERATIONS):
        x = np.exp(log_x)
        series = np.polynomial.polynomial.polyval(x, terms)
        slope = (1 - x) ** (shape - 1) / series  # of log(x^shape series) in log x
        with np.errstate(invalid="ignore"):
            log_x = log_x - np.where(np.isinf(target), 0.0, (shape * log_x + np.log(series) - target) / slope)
    quantiles: np.ndarray = np.where(probabilities <= 0.5, np.exp(log_x), 1 - np.exp(log_x))
    return quantiles


def alpha_sigma(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(alpha, sigma), alpha^2 + sigma^2 = 1, of noise levels sigma / alpha."""
    alphas = 1 / np.sqrt(levels**2 + 1)
    return alphas, levels * alphas
