"""PNDM: pseudo Runge-Kutta and linear multistep methods (Liu et al. 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...errors import SamplerError
from ..grids.schedule import training_schedule
from ..grids.spacing import require_decreasing, require_trained, spaced
from ..options import choice, flag
from ..parametrisation import Prediction
from ..scheduler import Run, Scheduler
from ..shared_options import SpacingOptions, TrainingOptions
from ..table import Table, transport

# Adams-Bashforth weights (eq. 9 and 13) of the newest prediction, the one before, ...
_MULTISTEP = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}
_RUNGE_KUTTA = ((1.0,), (1.0,), (1.0,), (1 / 6, 1 / 3, 1 / 3, 1 / 6))  # eq. 12: weights of the calls of one step
_RUNGE_KUTTA_STEPS = 3


class PNDMOptions(SpacingOptions, TrainingOptions):
    """Options of PNDMScheduler."""

    prediction_type: Prediction = choice("epsilon", "v_prediction")
    set_alpha_to_one: bool = flag(False)
    skip_prk_steps: bool = flag(False)


@dataclass(frozen=True, eq=False, repr=False)
class _Row:
    fed: int  # timestep of the denoiser call
    start: int  # timestep from which the latents are carried ...
    end: int  # ... and to which; below 0 is past the last
    weights: Mapping[int, float]  # by the number of the call
    again: bool = False  # start where the previous row started, not where it ended


def pndm(options: PNDMOptions, run: Run) -> Table:
    """PLMS with skip_prk_steps, else Runge-Kutta for the first three steps (F-PNDM, algorithm 2).

    Order 2, as in the paper: the weights are those of even steps, which timesteps are and log(sigma / alpha) is not.
    As in diffusers, a step is num_train_timesteps // steps long whatever the spacing, and v predictions are combined
    before they become eps, although those of different timesteps differ where eps would agree. As there too, a run
    that begins in the middle counts its calls from 0: the second timestep that is left counts as the one called twice,
    and with Runge-Kutta the first calls start at the timesteps of the whole run's.
    """
    schedule, steps = training_schedule(options), run.steps
    count = len(schedule)
    grid = spaced(options.timestep_spacing, count, steps, options.steps_offset).round()
    require_decreasing(grid, "timesteps", steps, count)
    require_trained(grid, steps, count)
    rows = _rows([int(t) for t in grid], count // steps, options.skip_prk_steps, run.skipped)

    final = 1.0 if options.set_alpha_to_one else float(schedule.alphas_cumprod[0])
    basis = options.prediction_type
    # A start or a fed timestep of -1 (see `spaced`) is the last by index, as in diffusers; an end of -1 the clean end.
    fed = np.array([schedule.at(row.fed % count) for row in rows])
    start = np.array([schedule.at(row.start % count) for row in rows])
    end = np.array([schedule.at(row.end, final=final) for row in rows])
    width = 1 + max(i - call for i, row in enumerate(rows) for call in row.weights)
    advance, correct = np.zeros((len(rows), 1 + width)), np.zeros((len(rows), 2 + width))
    for i, row in enumerate(rows):
        correct[i, 1 if row.again else 0] = 1.0
        kept, predicted = transport(basis, (start[i, 0], start[i, 1]), (end[i, 0], end[i, 1]))
        advance[i, 0] = kept
        for call, weight in row.weights.items():
            advance[i, 1 + i - call] += predicted * weight
    return Table(
        basis=basis,
        order=2,
        timesteps=np.array([float(row.fed) for row in rows]),
        alphas=fed[:, 0].copy(),
        sigmas=fed[:, 1].copy(),
        start=start,
        end=end,
        advance=advance,
        correct=correct,
        noise=np.zeros(len(rows)),
    )


def _rows(grid: list[int], stride: int, skip_prk_steps: bool, skipped: int) -> list[_Row]:
    """The calls that are left once `skipped` of all are left out, counted from 0 again, as diffusers counts them."""
    runge_kutta = [] if skip_prk_steps else _runge_kutta_calls(grid, stride // 2)
    again = grid[:2] + grid[1:]  # PLMS calls the second timestep twice
    calls = again if skip_prk_steps else runge_kutta + grid[_RUNGE_KUTTA_STEPS:]
    rows: list[_Row] = []
    remembered: list[int] = []  # calls whose predictions count as the steps before
    for call, timestep in enumerate(calls[skipped:]):
        if call < len(runge_kutta):
            stage = call % 4
            if stage == 0:
                remembered.append(call)
            used = range(call - 3, call + 1) if stage == 3 else [call]
            weights = dict(zip(used, _RUNGE_KUTTA[stage], strict=True))
            end = timestep - (0 if stage % 2 else stride // 2)
            rows.append(_Row(timestep, runge_kutta[call - stage], end, weights, again=stage > 0))
        elif call == 1:  # Euler there, now again from the start with the mean of both
            rows.append(_Row(timestep, timestep + stride, timestep, {0: 0.5, 1: 0.5}, again=True))
        else:
            remembered = [*remembered[-3:], call]
            weights = dict(zip(reversed(remembered), _MULTISTEP[len(remembered)], strict=True))
            rows.append(_Row(timestep, timestep, timestep - stride, weights))
    return rows


def _runge_kutta_calls(grid: list[int], half: int) -> list[int]:
    """Timesteps of three steps of four calls each; PLMS then begins by calling the fourth timestep again."""
    if len(grid) < _RUNGE_KUTTA_STEPS + 1:
        raise SamplerError(f"num_inference_steps={len(grid)} is too few with skip_prk_steps false; allowed: 4 and more")
    steps = pairwise(grid[: _RUNGE_KUTTA_STEPS + 1])
    return [call for start, end in steps for call in (start, end + half, end + half, end)]


SCHEDULERS = (
    Scheduler(
        "PNDMScheduler",
        pndm,
        PNDMOptions,
        {"pndm": {}},
        paper="Liu, Ren, Lin and Zhao 2022, Pseudo Numerical Methods for Diffusion Models, arXiv 2202.09778",
    ),
)
