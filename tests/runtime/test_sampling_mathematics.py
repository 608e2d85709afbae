"""What any sampler must be, whatever diffusers does: exact on one point, of its order on a Gaussian, consistent."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from tests.runtime.sampling_reference import drawing, network, relative_error, unit_noise
from triptych.runtime.errors import SamplerError
from triptych.runtime.sampling import Sampler, denoise
from triptych.runtime.sampling.parametrisation import PREDICTIONS, components, convert
from triptych.runtime.sampling.table import Table

EXACT = 1e-9  # relative, in float64
ORDER_TOLERANCE = 0.15
PARITY = 1e-4  # relative, of test_sampling_parity
MOVED = 1.01  # a coefficient that is wrong by 1%

# Fine enough for 320 steps, on the variance-preserving SDE of Song et al. 2021 (beta from 0.1 to 20), which begins at
# sigma 0.3: where sigma goes to 0 it is no smooth function of the timestep, and no order could be seen. Trailing steps
# divide it evenly, so that every step lands where the next one begins.
TRAINING_STEPS = 12800
FINE = {
    "num_train_timesteps": TRAINING_STEPS,
    "trained_betas": [0.1, *np.linspace(0.1 / TRAINING_STEPS, 20 / TRAINING_STEPS, TRAINING_STEPS - 1).tolist()],
    "timestep_spacing": "trailing",
}
STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
DPM = {"_class_name": "DPMSolverMultistepScheduler", **STABLE_DIFFUSION, "final_sigmas_type": "sigma_min"}

# name: (configuration, declared order); deterministic
SAMPLERS = {
    "ddim": ({"_class_name": "DDIMScheduler", **FINE, "clip_sample": False, "set_alpha_to_one": False}, 1),
    "euler": ({"_class_name": "EulerDiscreteScheduler", **FINE, "final_sigmas_type": "sigma_min"}, 1),
    "plms": ({"_class_name": "PNDMScheduler", **FINE, "skip_prk_steps": True}, 2),
    "pndm": ({"_class_name": "PNDMScheduler", **FINE, "skip_prk_steps": False}, 2),
}
for algorithm in ("dpmsolver++", "dpmsolver"):
    for solver_order, solver_type in ((1, "midpoint"), (2, "midpoint"), (2, "heun"), (3, "midpoint")):
        SAMPLERS[f"{algorithm} {solver_order} {solver_type}"] = (
            DPM
            | {"use_lu_lambdas": True, "lower_order_final": False}
            | {"algorithm_type": algorithm, "solver_order": solver_order, "solver_type": solver_type},
            min(solver_order, 2),  # solver_order 3 is no more: see dpm_multistep
        )


def gaussian_network(sampler: Sampler, mean: float, deviation: float) -> Callable[[np.ndarray, float], np.ndarray]:
    """The exact prediction for data that are N(mean, deviation^2) everywhere; one point where the deviation is 0."""
    levels = iter(zip(sampler.alphas, sampler.sigmas, strict=True))

    def predict(latents: np.ndarray, timestep: float) -> np.ndarray:
        alpha, sigma = next(levels)
        offset = (latents - alpha * mean) / (alpha**2 * deviation**2 + sigma**2)
        of_x0, of_eps = components(sampler.prediction, alpha, sigma)
        return of_x0 * (mean + alpha * deviation**2 * offset) + of_eps * sigma * offset

    return predict


def error_on_gaussian(config: dict, steps: int, deviation: float) -> float:
    """Relative error of the whole run against the exact flow of the ODE, which only scales each x - alpha mean."""
    mean = 0.7
    sampler = Sampler.from_config(config, steps)
    noise = unit_noise(dtype=np.float64)
    *_, last = denoise(gaussian_network(sampler, mean, deviation), noise, sampler)
    (alpha, sigma), (alpha_end, sigma_end) = sampler.table.start[0], sampler.table.end[-1]
    scale = np.hypot(alpha_end * deviation, sigma_end) / np.hypot(alpha * deviation, sigma)
    exact = alpha_end * mean + scale * (noise * sampler.table.initial_scale - alpha * mean)
    return relative_error(last.latents, exact)


@pytest.mark.parametrize("name", SAMPLERS)
def test_exact_on_one_point(name: str) -> None:
    assert error_on_gaussian(SAMPLERS[name][0], 20, deviation=0.0) < EXACT


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
@pytest.mark.parametrize("name", ["ddim", "euler", "dpmsolver++ 2 midpoint", "dpmsolver 2 heun"])
def test_exact_on_one_point_for_every_prediction(name: str, prediction: str) -> None:
    assert error_on_gaussian(SAMPLERS[name][0] | {"prediction_type": prediction}, 20, deviation=0.0) < EXACT


@pytest.mark.parametrize("name", SAMPLERS)
def test_measured_order_of_convergence_is_the_declared_one(name: str) -> None:
    config, order = SAMPLERS[name]
    coarse, fine = (error_on_gaussian(config, steps, deviation=0.5) for steps in (160, 320))
    assert np.log2(coarse / fine) == pytest.approx(order, abs=ORDER_TOLERANCE)
    assert Sampler.from_config(config, 20).order == order


@pytest.mark.parametrize(
    "name", ["dpmsolver++ 3 midpoint", "dpmsolver 3 midpoint", "dpmsolver++ 2 heun", "dpmsolver 2 heun"]
)
def test_rows_integrate_constant_and_linear_predictions_exactly(name: str) -> None:
    """Lu et al. 2022b, eq. 9, and 2022a, eq. 3.4, by quadrature; order 3 halves the quadratic term."""
    config, order = SAMPLERS[name][0], int(name.split()[1])
    table = Sampler.from_config(config, 12).table
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


@pytest.mark.parametrize("algorithm", ["sde-dpmsolver++", "ddim"])
def test_stochastic_rows_keep_the_variance(algorithm: str) -> None:
    """Of noise carried over and noise added, the squares add up to sigma^2 where the next call is fed."""
    if algorithm == "ddim":
        sampler = Sampler.from_config(SAMPLERS["ddim"][0], 20, eta=0.7)
    else:
        sampler = Sampler.from_config(DPM | {"algorithm_type": algorithm, "solver_order": 1}, 20)
    table = sampler.table
    carried = table.advance[:, 0] * table.start[:, 1]
    assert table.basis == "sample"
    assert sampler.stochastic
    np.testing.assert_allclose(np.hypot(carried, table.noise), table.end[:, 1], rtol=EXACT)


STOCHASTIC = {
    "sde-dpmsolver++": DPM | {"algorithm_type": "sde-dpmsolver++", "solver_order": 3},
    "sde-dpmsolver": DPM | {"algorithm_type": "sde-dpmsolver", "solver_type": "heun"},
}


@pytest.mark.parametrize("name", [*SAMPLERS, *STOCHASTIC])
def test_a_wrong_advancing_coefficient_is_refused(name: str) -> None:
    table = Sampler.from_config(SAMPLERS[name][0] if name in SAMPLERS else STOCHASTIC[name], 8).table
    for row, column in zip(*table.advance.nonzero(), strict=True):
        wrong = table.advance.copy()
        wrong[row, column] *= MOVED
        if name == "sde-dpmsolver" and column > 0:
            continue  # eps holds no signal, and noise is not checked where new noise is approximate: see below
        with pytest.raises(SamplerError, match=rf"row {row} of the table is not consistent"):
            dataclasses.replace(table, advance=wrong)


@pytest.mark.parametrize("field", ["advance", "correct", "noise", "alphas", "sigmas", "timesteps", "initial_scale"])
@pytest.mark.parametrize("name", ["plms", "sde-dpmsolver"])
def test_a_wrong_number_anywhere_shows_in_the_result(name: str, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What parity with diffusers compares changes by more than its tolerance."""
    plms = {"_class_name": "PNDMScheduler", **STABLE_DIFFUSION, "skip_prk_steps": True}
    sampler = Sampler.from_config(STOCHASTIC.get(name, plms), 6)
    right = np.atleast_1d(getattr(sampler.table, field))
    *_, expected = denoise(network, unit_noise(), sampler, drawing(1))
    monkeypatch.setattr(Table, "_check_row", lambda self, i: None)
    for position in zip(*right.nonzero(), strict=True):
        wrong = right.copy()
        wrong[position] *= MOVED
        table = dataclasses.replace(sampler.table, **{field: float(wrong[0]) if field == "initial_scale" else wrong})
        moved = Sampler.from_table(sampler.name, sampler.config, table)
        *_, given = denoise(network, unit_noise(), moved, drawing(1))
        if field in ("alphas", "sigmas") and sampler.prediction == table.basis:
            continue  # the network's output is used as it is
        if field == "timesteps" and abs(right[position]) < 100:
            continue
        assert relative_error(given.latents, expected.latents) > PARITY, position


def test_conversions_between_predictions_agree() -> None:
    generator = np.random.default_rng(3)
    for angle in generator.uniform(0.1, 1.4, 20):
        alpha, sigma, x0, eps = np.cos(angle), np.sin(angle), *generator.standard_normal(2)
        x = alpha * x0 + sigma * eps
        for given in PREDICTIONS:
            for wanted in PREDICTIONS:
                p, q = convert(given, wanted, alpha, sigma)
                value, expected = (np.dot(components(each, alpha, sigma), (x0, eps)) for each in (given, wanted))
                assert p * x + q * value == pytest.approx(expected, rel=1e-9, abs=1e-9)
