"""EDM: noise levels as Karras et al. 2022 choose them, and networks with their preconditioning (table 1)."""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np

from .noise_levels import as_float32
from .options import choice, positive, whole
from .parametrisation import Prediction
from .scheduler import Run, Scheduler
from .table import Table, single_step


def edm_euler(options: Mapping[str, Any], run: Run) -> Table:
    """Euler's method in sigma (algorithm 1 without churn and without the correction).

    As in diffusers, with final_sigmas_type sigma_min the last step goes nowhere.
    """
    levels = _levels(options, run.steps)
    levels = np.append(levels, levels[-1] if options["final_sigmas_type"] == "sigma_min" else 0.0)
    positions = _positions(levels, options)[run.skipped :]
    return single_step(
        _timesteps(levels)[run.skipped :], positions[:-1], positions[1:], initial_scale=_initial_scale(levels, options)
    )


def _levels(options: Mapping[str, Any], steps: int) -> np.ndarray:
    """sigma, as float32 has it [steps]; of a single step, the smallest where they are exponential, as in diffusers."""
    smallest, largest = options["sigma_min"], options["sigma_max"]
    if options["sigma_schedule"] == "exponential":
        return as_float32(np.exp(np.linspace(log(smallest), log(largest), steps)))[::-1]
    high, low = largest ** (1 / options["rho"]), smallest ** (1 / options["rho"])
    return as_float32((high + np.linspace(0, 1, steps) * (low - high)) ** options["rho"])


def _timesteps(levels: np.ndarray) -> np.ndarray:
    """c_noise of all levels but the last."""
    return as_float32(0.25 * np.log(levels[:-1]))


def _positions(levels: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """(alpha, sigma) [n, 2] of latents scaled by c_in, but the last, which are x0 + level eps."""
    alphas = 1 / np.hypot(levels, options["sigma_data"])
    alphas[-1] = 1.0
    return np.stack([alphas, alphas * levels], axis=1)


def _initial_scale(levels: np.ndarray, options: Mapping[str, Any]) -> float:
    """diffusers begins with noise times sqrt(sigma_max^2 + 1), whatever sigma_data."""
    return float(np.hypot(options["sigma_max"], 1.0) / np.hypot(levels[0], options["sigma_data"]))


def _predicts(options: Mapping[str, Any]) -> Prediction:
    """diffusers calls F epsilon, and -F v_prediction."""
    return "edm" if options["prediction_type"] == "epsilon" else "edm_v"


_OPTIONS = {
    "sigma_min": positive(0.002),
    "sigma_max": positive(80.0),
    "sigma_data": positive(0.5),
    "sigma_schedule": choice("karras", "exponential"),
    "num_train_timesteps": whole(1000, least=1),
    "prediction_type": choice("epsilon", "v_prediction"),
    "rho": positive(7.0),
    "final_sigmas_type": choice("zero", "sigma_min"),
}

SCHEDULERS = (
    Scheduler(
        "EDMEulerScheduler",
        edm_euler,
        _OPTIONS,
        {"edm_euler": {}},
        paper="Karras, Aittala, Aila and Laine 2022, Elucidating the Design Space, arXiv 2206.00364",
        predicts=_predicts,
    ),
)
