"""What any sampler must be, whatever diffusers does: exact on one point, of its order on a Gaussian, consistent.

Every scheduler of the registry is tested; `VARIANTS` says with which options, where its defaults do not do.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.support.sampling import PARITY, drawing, network, relative_error, unit_noise
from triptych.runtime.errors import SamplerError
from triptych.runtime.sampling import Sampler, denoise
from triptych.runtime.sampling.parametrisation import PREDICTIONS, components, convert
from triptych.runtime.sampling.registry import SCHEDULERS
from triptych.runtime.sampling.scheduler import Scheduler
from triptych.runtime.sampling.table import Table

EXACT = 1e-9  # relative, in float64
ORDER_TOLERANCE = 0.15
MOVED = 1.01  # a coefficient that is wrong by 1%
MEAN = 0.7  # of the data

# Fine enough for 288 steps, on the variance-preserving SDE of Song et al. 2021 (beta from 0.1 to 20), which begins at
# sigma 0.3: where sigma goes to 0 it is no smooth function of the timestep, and no order could be seen. Trailing steps
# divide it evenly, so that every step lands where the next one begins.
TRAINING_STEPS = 14400
FINE = {
    "num_train_timesteps": TRAINING_STEPS,
    "trained_betas": [0.1, *np.linspace(0.1 / TRAINING_STEPS, 20 / TRAINING_STEPS, TRAINING_STEPS - 1).tolist()],
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "set_alpha_to_one": False,
}
STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
DPM = {**STABLE_DIFFUSION, "trained_betas": None, "num_train_timesteps": 1000, "final_sigmas_type": "sigma_min"}

SMOOTH = {"final_sigmas_type": "sigma_min", "lower_order_final": False}

# Class: what to test beside or instead of its defaults, on the fine schedule where it has one
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "PNDMScheduler": [{"skip_prk_steps": True}, {"skip_prk_steps": False}],
    "DPMSolverMultistepScheduler": [
        DPM
        | {"use_lu_lambdas": True, "lower_order_final": False}
        | {"algorithm_type": algorithm, "solver_order": order, "solver_type": solver}
        for algorithm in ("dpmsolver++", "dpmsolver")
        for order, solver in ((1, "midpoint"), (2, "midpoint"), (2, "heun"), (3, "midpoint"))
    ]
    + [
        DPM | {"algorithm_type": "sde-dpmsolver++", "solver_order": 1},
        DPM | {"algorithm_type": "sde-dpmsolver++", "solver_order": 3},
        DPM | {"algorithm_type": "sde-dpmsolver", "solver_type": "heun"},
    ],
    "DPMSolverSinglestepScheduler": [SMOOTH | {"solver_order": order} for order in (1, 2, 3)],
    "DEISMultistepScheduler": [SMOOTH | {"solver_order": order} for order in (1, 2, 3)],
    "UniPCMultistepScheduler": [SMOOTH, SMOOTH | {"solver_order": 1}, SMOOTH | {"solver_type": "bh1"}],
    "TCDScheduler": [{"original_inference_steps": TRAINING_STEPS}],
    "FlowMatchEulerDiscreteScheduler": [{}, {"stochastic_sampling": True}, {"invert_sigmas": True}],
}
# DDIM's share of new noise
ETA = 0.7
# Options with which noise is added by a rule that only tends to the right variance
APPROXIMATE_NOISE = [{"algorithm_type": "sde-dpmsolver"}]


@dataclasses.dataclass(frozen=True)
class Case:
    """A scheduler with options."""

    scheduler: Scheduler
    config: dict[str, Any]
    eta: float = 0.0

    def sampler(self, steps: int) -> Sampler:
        return Sampler.from_config(self.config, steps, eta=self.eta)

    def says(self, options: dict[str, Any]) -> bool:
        return all(self.config.get(key) == value for key, value in options.items())


def all_cases() -> Iterator[tuple[str, Case]]:
    for scheduler in SCHEDULERS:
        fine = {key: value for key, value in FINE.items() if key in scheduler.options}
        name = scheduler.class_name
        for number, variant in enumerate(VARIANTS.get(name, [{}])):
            yield f"{name} {number}", Case(scheduler, {"_class_name": name} | fine | variant)
        if "eta" in scheduler.takes:
            yield f"{name} eta", Case(scheduler, {"_class_name": name} | fine, ETA)


CASES = dict(all_cases())
STOCHASTIC = {name: case for name, case in CASES.items() if case.sampler(20).stochastic}
DETERMINISTIC = {name: case for name, case in CASES.items() if name not in STOCHASTIC}


def gaussian_network(sampler: Sampler, deviation: float) -> Callable[[np.ndarray, float], np.ndarray]:
    """The exact prediction for data that are N(MEAN, deviation^2) everywhere; one point where the deviation is 0."""
    levels = iter(zip(sampler.alphas, sampler.sigmas, strict=True))

    def predict(latents: np.ndarray, timestep: float) -> np.ndarray:
        alpha, sigma = next(levels)
        offset = (latents - alpha * MEAN) / (alpha**2 * deviation**2 + sigma**2)
        of_x0, of_eps = components(sampler.prediction, alpha, sigma)
        output: np.ndarray = of_x0 * (MEAN + alpha * deviation**2 * offset) + of_eps * sigma * offset
        return output

    return predict


def error_on_gaussian(sampler: Sampler, row: int, deviation: float) -> float:
    """Relative error of what a row gives against the exact flow of the ODE, which only scales each x - alpha mean."""
    table, noise = sampler.table, unit_noise(dtype=np.float64)
    steps = denoise(gaussian_network(sampler, deviation), noise, sampler)
    latents = next(step.latents for step in steps if step.index == row)
    (alpha, sigma), (alpha_end, sigma_end) = table.start[0], table.end[row]
    scale = np.hypot(alpha_end * deviation, sigma_end) / np.hypot(alpha * deviation, sigma)
    exact = alpha_end * MEAN + scale * (noise * table.initial_scale - alpha * MEAN)
    return relative_error(latents, exact)


def last_smooth_row(table: Table) -> int:
    """The last row that ends a step at a noise level above 0; a step to 0 is as long whatever the number of steps."""
    ends_step = np.append((table.start[1:] != table.start[:-1]).any(axis=1), True)
    return int((ends_step & (table.end[:, 1] > 0)).nonzero()[0][-1])


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_exact_on_one_point(name: str) -> None:
    sampler = DETERMINISTIC[name].sampler(20)
    assert error_on_gaussian(sampler, len(sampler) - 1, deviation=0.0) < EXACT


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_exact_on_one_point_for_every_prediction(name: str, prediction: str) -> None:
    case = DETERMINISTIC[name]
    option = case.scheduler.options.get("prediction_type")
    if option is None or prediction not in option.allowed:
        pytest.skip("not an option of this scheduler")
    if case.scheduler.class_name == "PNDMScheduler":
        pytest.skip("it combines predictions of v, which differ where eps agree: as diffusers does")
    sampler = dataclasses.replace(case, config=case.config | {"prediction_type": prediction}).sampler(20)
    assert error_on_gaussian(sampler, len(sampler) - 1, deviation=0.0) < EXACT


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_measured_order_of_convergence_is_the_declared_one(name: str) -> None:
    errors = []
    for steps in (144, 288):
        sampler = DETERMINISTIC[name].sampler(steps)
        errors.append(error_on_gaussian(sampler, last_smooth_row(sampler.table), deviation=0.5))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(sampler.order, abs=ORDER_TOLERANCE)


@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "dpmsolver"])
@pytest.mark.parametrize("order", [2, 3])
def test_rows_integrate_constant_and_linear_predictions_exactly(algorithm: str, order: int, solver_type: str) -> None:
    """Lu et al. 2022b, eq. 9, and 2022a, eq. 3.4, by quadrature; order 3 halves the quadratic term."""
    if order == 2 and solver_type == "midpoint":
        pytest.skip("the midpoint rule is no exact integral")
    options = {"algorithm_type": algorithm, "solver_order": order, "solver_type": solver_type}
    options |= {"use_lu_lambdas": True, "lower_order_final": False}
    table = Sampler.from_config({"_class_name": "DPMSolverMultistepScheduler"} | DPM | options, 12).table
    lambdas = np.log(table.alphas / table.sigmas)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for i in range(order - 1, 11):
        (alpha, sigma), middle, half = table.end[i], lambdas[i : i + 2].mean(), np.diff(lambdas[i : i + 2])[0] / 2
        points = middle + half * nodes
        kernel = sigma * np.exp(points) if table.basis == "sample" else -alpha * np.exp(-points)
        for power in range(2):
            integral = half * np.sum(weights * kernel * points**power)
            row = table.advance[i, 1 : 1 + order] @ lambdas[i - order + 1 : i + 1][::-1] ** power
            assert row == pytest.approx(integral, rel=EXACT), (i, power)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_rows_keep_the_variance(name: str) -> None:
    """Of noise carried over, known or predicted, and noise added, the squares add up to sigma^2 where a row ends."""
    case = STOCHASTIC[name]
    if any(case.says(options) for options in APPROXIMATE_NOISE):
        pytest.skip("its noise only tends to the right variance")
    assert variance_error(case.sampler(20).table) < EXACT


def variance_error(table: Table) -> float:
    """By how much the deviation of what a row gives misses sigma."""
    agreed = np.array([components(table.basis, *start) for start in table.start])
    carried = table.advance[:, 0] * table.start[:, 1] + table.advance[:, 1:].sum(axis=1) * agreed[:, 1]
    return float(np.abs(np.hypot(carried, table.noise) - table.end[:, 1]).max())


@pytest.mark.parametrize("field", ["advance", "correct", "noise", "initial_scale"])
@pytest.mark.parametrize("name", CASES)
def test_a_wrong_number_anywhere_is_caught(name: str, field: str) -> None:
    """The table is refused, or its variance, or it misses one point, or parity with diffusers by its tolerance.

    Parity also compares timesteps and noise levels, one by one.
    """
    sampler = CASES[name].sampler(6)
    exact = variance_error(sampler.table) < EXACT
    right = np.atleast_1d(getattr(sampler.table, field))
    expected = everything(sampler)
    for position in zip(*right.nonzero(), strict=True):
        if field == "correct" and (not right[position[0], 1:].any() or sampler.table.advance[position[0], 0] == 0):
            continue  # nothing is corrected, or goes nowhere
        if abs(right[position]) < PARITY:
            continue  # hardly anything
        wrong = right.copy()
        wrong[position] *= MOVED
        change: dict[str, Any] = {field: float(wrong[0]) if field == "initial_scale" else wrong}
        if refused(sampler.table, change):
            continue
        table = dataclasses.replace(sampler.table, **change)
        if exact and variance_error(table) > EXACT:
            continue
        moved = Sampler.from_table(sampler.name, sampler.options, table)
        if name in DETERMINISTIC and error_on_gaussian(moved, len(moved) - 1, deviation=0.0) > EXACT:
            continue
        assert max(map(relative_error, everything(moved), expected)) > PARITY, position


def refused(table: Table, change: dict[str, Any]) -> bool:
    try:
        dataclasses.replace(table, **change)
    except SamplerError:
        return True
    return False


def everything(sampler: Sampler) -> list[np.ndarray]:
    """All that a run gives."""
    steps = list(denoise(network, unit_noise(), sampler, drawing(1)))
    return [each for step in steps for each in (step.latents, step.denoised)]


def test_conversions_between_predictions_agree() -> None:
    generator = np.random.default_rng(3)
    for angle in generator.uniform(0.1, 1.4, 20):
        alpha, sigma, x0, eps = np.cos(angle), np.sin(angle), *generator.standard_normal(2)
        x = alpha * x0 + sigma * eps
        for source, target in itertools.product(PREDICTIONS, repeat=2):
            p, q = convert(source, target, alpha, sigma)
            value, expected = (np.dot(components(each, alpha, sigma), (x0, eps)) for each in (source, target))
            assert p * x + q * value == pytest.approx(expected, rel=1e-9, abs=1e-9)
