"""DPM-Solver and DPM-Solver++, multistep, orders 1 to 3, and their SDE forms (Lu et al. 2022a, 2022b)."""

from collections.abc import Mapping
from math import exp, expm1, inf, log, nan
from typing import Any

import numpy as np

from ..errors import SamplerError
from .grids import alpha_sigma, exponential, karras, require_decreasing, require_trained, spaced
from .options import choice, flag, number, only, unused, whole
from .parametrisation import Prediction
from .schedule import Schedule, training_schedule
from .scheduler import SPACINGS, THRESHOLDING, TRAINING, Run, Scheduler
from .table import Table, identity

_BASIS: dict[str, Prediction] = {
    "dpmsolver++": "sample",
    "sde-dpmsolver++": "sample",
    "dpmsolver": "epsilon",
    "sde-dpmsolver": "epsilon",
}
# Of a whole run: it begins with a row of order 1; and order 3, in the authors' code and in diffusers, takes half of the
# term in the second derivative
_RUN_ORDER = 2
_SAME = 1e-6  # relative: noise levels that float32 cannot tell apart
_FEW_STEPS = 15  # below this, lower_order_final lowers the order of the last steps


def dpm_multistep(options: Mapping[str, Any], run: Run) -> Table:
    """DPM-Solver multistep; dpmsolver++ of order 2 is known as DPM++ 2M.

    As in diffusers, timesteps given to the network are whole numbers: rounded where they come from Karras or Lu noise
    levels, cut off where these are exponential.
    """
    algorithm, order = options["algorithm_type"], options["solver_order"]
    if _BASIS[algorithm] == "epsilon" and options["final_sigmas_type"] == "zero":
        raise SamplerError(f"algorithm_type={algorithm} cannot end at sigma 0; it needs final_sigmas_type sigma_min")
    schedule = training_schedule(options, finite_sigmas=True)
    timesteps, levels = _grid(schedule, options, run.steps)
    calls = len(timesteps)
    positions = np.stack(alpha_sigma(levels), axis=1)
    lambdas = [-log(level) if level > 0 else inf for level in levels]

    advance, noise = np.zeros((calls, 1 + order)), np.zeros(calls)
    for i in range(calls):
        h = lambdas[i + 1] - lambdas[i]
        if h == 0:  # a grid down to sigma_min that also ends there: the last step goes nowhere
            advance[i, 0] = 1.0
            continue
        used = _order_of(i, calls, options)
        if algorithm == "sde-dpmsolver" and used == 3:
            raise SamplerError("algorithm_type=sde-dpmsolver has no solver_order=3; allowed: 1, 2")
        advance[i, 0], scale, growth, noise[i] = _first_order(algorithm, positions[i], positions[i + 1], h)
        weights = _weights(growth, used, options["solver_type"])
        if algorithm == "sde-dpmsolver++" and used == 3:
            weights[2] -= 1.0  # diffusers has -1/2 where the expansion of the integral has +1/2
        advance[i, 1 : 1 + used] = scale * weights @ _differences(h, lambdas[i::-1][:used])
    return Table(
        basis=_BASIS[algorithm],
        order=min(order, _RUN_ORDER),
        timesteps=timesteps,
        alphas=positions[:-1, 0].copy(),
        sigmas=positions[:-1, 1].copy(),
        start=positions[:-1].copy(),
        end=positions[1:].copy(),
        advance=advance,
        correct=identity(calls, order),
        noise=noise,
    )


def _grid(schedule: Schedule, options: Mapping[str, Any], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Timesteps [calls], and noise levels sigma / alpha [calls + 1] with the one it ends at."""
    count, trained = len(schedule), schedule.sigmas
    largest, smallest = float(trained[-1]), float(trained[0])
    # Lambda goes to -infinity with the cosine schedule: the noisiest timesteps can be cut off
    lambdas = np.log(np.sqrt(schedule.alphas_cumprod)) - np.log(np.sqrt(1 - schedule.alphas_cumprod))
    last = count - int(np.searchsorted(lambdas[::-1], options["lambda_min_clipped"]))
    cosine = options["beta_schedule"] == "squaredcos_cap_v2"
    if options["use_karras_sigmas"] or options["use_lu_lambdas"]:
        levels = karras(largest, smallest, steps) if options["use_karras_sigmas"] else _lu(trained, steps)
        timesteps = schedule.timesteps_of(levels)
        timesteps = timesteps if cosine else timesteps.round()
    elif options["use_exponential_sigmas"]:
        levels = exponential(largest, smallest, steps)
        timesteps = schedule.timesteps_of(levels)
    else:
        spacing, offset = options["timestep_spacing"], options["steps_offset"]
        timesteps = spaced(spacing, count, steps, offset, last=last, extra=1).round()
        require_decreasing(timesteps, "timesteps", steps, count)
        require_trained(timesteps, steps, count)
        levels = np.interp(timesteps, np.arange(count), trained)
    final = smallest if options["final_sigmas_type"] == "sigma_min" else 0.0
    if abs(levels[-1] - final) < _SAME * final:  # not next to sigma_min: a step of no length is of no order either
        levels[-1] = final
    levels = np.append(levels, final).astype(np.float32).astype(np.float64)
    return np.trunc(timesteps), levels


def _lu(trained: np.ndarray, steps: int) -> np.ndarray:
    """Noise levels even in lambda, as `exponential`, but rounded as diffusers does: the first timestep hangs on it."""
    high, low = (float(np.log(level)) for level in (trained[-1], trained[0]))
    return np.exp(high + np.linspace(0, 1, steps) * (low - high))


def _order_of(i: int, calls: int, options: Mapping[str, Any]) -> int:
    """How many predictions row i uses: few at the start, and few at the end where accuracy would not be stable."""
    careful = options["lower_order_final"] and calls < _FEW_STEPS
    order = min(options["solver_order"], i + 1)
    if i == calls - 1 and (careful or options["euler_at_final"] or options["final_sigmas_type"] == "zero"):
        return 1
    return min(order, 2) if i == calls - 2 and careful else order


def _first_order(algorithm: str, start: np.ndarray, end: np.ndarray, h: float) -> tuple[float, float, float, float]:
    """(a, c, g, n): the first-order step is  a x - c (e^g - 1) m + n z,  from (alpha, sigma) to (alpha, sigma)."""
    alpha, sigma = end[0] / start[0], end[1] / start[1]
    match algorithm:
        case "dpmsolver++":
            return sigma, end[0], -h, 0.0
        case "dpmsolver":
            return alpha, end[1], h, 0.0
        case "sde-dpmsolver++":
            return sigma * exp(-h), end[0], -2 * h, _root(-expm1(-2 * h)) * end[1]
        case _:
            return alpha, 2 * end[1], h, _root(expm1(2 * h)) * end[1]


def _root(square: float) -> float:
    """NaN where a step goes up in noise, which the SDE forms cannot; the table refuses it."""
    return square**0.5 if square >= 0 else nan


def _weights(growth: float, order: int, solver_type: str) -> np.ndarray:
    """Of the prediction and its scaled differences: -integral of e^s s^k / k! in h, exact or, for midpoint, halved."""
    first = -expm1(growth)
    if order == 1:
        return np.array([first])
    if order == 2 and solver_type == "midpoint":
        return np.array([first, first / 2])
    heun = 1 + first / growth
    return np.array([first, heun, heun / growth + 1 / 2][:order])


def _differences(h: float, lambdas: list[float]) -> np.ndarray:
    """D [order, order]: the prediction and its divided differences in lambda, in units of h, as rows over history.

    Args:
        h: length of the step in lambda.
        lambdas: log(alpha / sigma) of the newest call, the one before, ...
    """
    rows = np.eye(len(lambdas))[:1]
    if len(lambdas) == 1:
        return rows
    steps = -np.diff(lambdas) / h
    slopes = (np.eye(len(lambdas))[:-1] - np.eye(len(lambdas))[1:]) / steps[:, None]
    if len(lambdas) == 2:
        return np.concatenate([rows, slopes])
    bend = (slopes[0] - slopes[1]) / (steps[0] + steps[1])
    return np.stack([rows[0], slopes[0] + steps[0] * bend, bend])


SCHEDULERS = (
    Scheduler(
        "DPMSolverMultistepScheduler",
        dpm_multistep,
        TRAINING
        | THRESHOLDING
        | {
            "prediction_type": choice("epsilon", "sample", "v_prediction"),
            "steps_offset": whole(0),
            "timestep_spacing": choice(*SPACINGS, default="linspace"),
            "solver_order": whole(2, least=1, most=3),
            "algorithm_type": choice(
                "dpmsolver++", "dpmsolver", "sde-dpmsolver", "sde-dpmsolver++", aliases={"deis": "dpmsolver++"}
            ),
            "solver_type": choice(
                "midpoint", "heun", aliases={"logrho": "midpoint", "bh1": "midpoint", "bh2": "midpoint"}
            ),
            "lower_order_final": flag(True),
            "euler_at_final": flag(False),
            "use_karras_sigmas": flag(False),
            "use_exponential_sigmas": flag(False),
            "use_beta_sigmas": only(False, None),
            "use_lu_lambdas": flag(False),
            "use_flow_sigmas": only(False, None),
            "flow_shift": unused(),  # without use_flow_sigmas
            "use_dynamic_shifting": only(False, None),
            "time_shift_type": unused(),  # without use_dynamic_shifting
            "final_sigmas_type": choice("zero", "sigma_min"),
            "lambda_min_clipped": number(float("-inf"), infinite=True),
            "variance_type": only(None),
            "rescale_betas_zero_snr": flag(False),
        },
        {"dpmpp_2m": {"algorithm_type": "dpmsolver++", "solver_order": 2}},
        paper="Lu et al. 2022, DPM-Solver (arXiv 2206.00927) and DPM-Solver++ (arXiv 2211.01095)",
    ),
)
