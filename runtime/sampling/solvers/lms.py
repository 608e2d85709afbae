"""Linear multistep: the polynomial through the last predictions of eps, integrated in sigma / alpha."""

import numpy as np

from ..grids.noise_levels import LevelOptions, initial_scale, noise_levels, positions_of
from ..options import choice
from ..parametrisation import Prediction
from ..scheduler import Run, Scheduler
from ..table import Table, identity

_ORDER = 4


class LMSOptions(LevelOptions):
    """Options of LMSDiscreteScheduler."""

    prediction_type: Prediction = choice("epsilon", "sample", "v_prediction")


def lms(options: LMSOptions, run: Run) -> Table:
    """Adams-Bashforth of order 4 on uneven steps in sigma / alpha (k-diffusion's LMS).

    The first rows are of lower order, where there is little but noise: this does not show in the result.

    As in diffusers, a run that begins in the middle (strength) takes the weights of four predictions at once, and
    leaves out those for predictions that were never made: its first three steps do not land where they should.
    """
    if options.use_karras_sigmas:  # which have no sigma_min and sigma_max in diffusers' class
        options = options.replaced(sigma_min=None, sigma_max=None)
    _, timesteps, levels = noise_levels(options, run)
    skipped = run.skipped
    positions = positions_of(levels)
    calls = len(timesteps) - skipped
    advance = np.zeros((calls, 1 + _ORDER))
    end = positions[skipped + 1 :].copy()
    for i in range(calls):
        newest = skipped + i
        weights = _weights(levels[max(newest - _ORDER + 1, 0) : newest + 1][::-1], levels[newest + 1])
        made, missing = weights[: i + 1], weights[i + 1 :]
        # x / alpha grows by the weights times eps
        advance[i, 0] = end[i, 0] / positions[newest, 0]
        advance[i, 1 : 1 + len(made)] = end[i, 0] * made
        end[i, 1] = end[i, 0] * (levels[newest + 1] - missing.sum())
    return Table(
        basis="epsilon",
        order=_ORDER,
        timesteps=timesteps[skipped:],
        alphas=positions[skipped:-1, 0].copy(),
        sigmas=positions[skipped:-1, 1].copy(),
        start=positions[skipped:-1].copy(),
        end=end,
        advance=advance,
        correct=identity(calls, _ORDER),
        noise=np.zeros(calls),
        initial_scale=initial_scale(options, levels),
    )


def _weights(nodes: np.ndarray, end: float) -> np.ndarray:
    """Integral from nodes[0] to `end` of the polynomials that are 1 at one node and 0 at the others."""
    length = end - nodes[0]
    places = (nodes - nodes[0]) / length
    moments = 1 / np.arange(1, len(nodes) + 1)
    weights: np.ndarray = length * np.linalg.solve(np.vander(places, increasing=True).T, moments)
    return weights


SCHEDULERS = (
    Scheduler(
        "LMSDiscreteScheduler",
        lms,
        LMSOptions,
        {"lms": {}},
        paper="Karras, Aittala, Aila and Laine 2022, arXiv 2206.00364; k-diffusion's sample_lms",
        scales_input=True,
    ),
)
