"""Whole runs equal diffusers': same configuration, same network, its samples never fed back to ours."""

from typing import Any

import diffusers
import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from tests.runtime.sampling_reference import (
    diffusers_run,
    diffusers_scheduler,
    drawing,
    network,
    property_test,
    relative_error,
    unit_noise,
)
from triptych.runtime.sampling import Sampler, denoise, with_scheduler

PARITY = 1e-4  # relative, float32
PARITY_FLOAT64 = 1e-9  # relative, where diffusers can be run in float64
# diffusers adds and subtracts numbers as large as sigma / alpha in float32: what it loses, in units of their rounding
ROUNDINGS = 16
STABLE_DIFFUSION = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
SD15 = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    **STABLE_DIFFUSION,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}

diffusers.logging.set_verbosity_error()
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:__array__ implementation:DeprecationWarning")

booleans = st.booleans()
training = st.fixed_dictionaries(
    {
        "timestep_spacing": st.sampled_from(["leading", "linspace", "trailing"]),
        "prediction_type": st.sampled_from(["epsilon", "sample", "v_prediction"]),
    },
    optional={"steps_offset": st.integers(0, 2)},
)
betas = st.one_of(
    st.just(STABLE_DIFFUSION),
    st.fixed_dictionaries(
        {
            "num_train_timesteps": st.sampled_from([100, 997, 1000]),
            "beta_schedule": st.sampled_from(["linear", "scaled_linear", "squaredcos_cap_v2"]),
            "beta_start": st.floats(1e-4, 2e-3),
            "beta_end": st.floats(0.01, 0.02),
        }
    ),
    st.integers(100, 400).map(
        lambda count: {"num_train_timesteps": count, "trained_betas": np.geomspace(2e-4, 0.05, count).tolist()}
    ),
)
thresholding = {"thresholding": booleans, "sample_max_value": st.floats(1.0, 3.0)}
ddim = st.fixed_dictionaries(
    {"set_alpha_to_one": booleans, "clip_sample": booleans, "clip_sample_range": st.floats(0.5, 3.0)},
    optional={**thresholding, "rescale_betas_zero_snr": booleans, "dynamic_thresholding_ratio": st.floats(0.5, 1.0)},
)
pndm = st.fixed_dictionaries({"skip_prk_steps": booleans}, optional={"set_alpha_to_one": booleans})
euler_grids = st.sampled_from([{}, {}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}])
euler = st.fixed_dictionaries(
    {},
    optional={
        "interpolation_type": st.sampled_from(["linear", "log_linear"]),
        "timestep_type": st.sampled_from(["discrete", "continuous"]),
        "final_sigmas_type": st.sampled_from(["zero", "sigma_min"]),
        "rescale_betas_zero_snr": booleans,
        "sigma_min": st.floats(0.01, 0.1),
        "sigma_max": st.floats(5.0, 20.0),
    },
)
dpm_grids = st.one_of(euler_grids, st.just({"use_lu_lambdas": True}))
dpm = st.fixed_dictionaries(
    {
        "solver_order": st.integers(1, 3),
        "algorithm_type": st.sampled_from(
            ["dpmsolver++", "dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver"]
        ),
        "solver_type": st.sampled_from(["midpoint", "heun", "bh2"]),
        "final_sigmas_type": st.sampled_from(["zero", "sigma_min"]),
    },
    optional={
        **thresholding,
        "lower_order_final": booleans,
        "euler_at_final": booleans,
        "rescale_betas_zero_snr": booleans,
        "lambda_min_clipped": st.sampled_from([float("-inf"), -5.1]),
    },
)
few_or_many = st.one_of(st.integers(1, 20), st.integers(20, 61))


def configurations(name: str, *parts: st.SearchStrategy[dict]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(training, betas, *parts).map(
        lambda dicts: {"_class_name": name} | {key: value for each in dicts for key, value in each.items()}
    )


def compare(config: dict[str, Any], steps: int, eta: float = 0.0, seed: int = 0, shape=(2, 3, 5, 7)) -> None:
    """Same timesteps, same final latents."""
    sampler = Sampler.from_config(config, steps, eta=eta)
    draws = sampler.stochastic or eta > 0
    extra = {"eta": eta if config["_class_name"] == "DDIMScheduler" else None, "draw": drawing(seed) if draws else None}
    noise = unit_noise(seed, shape)
    expected, timesteps = diffusers_run(diffusers_scheduler(config), noise, steps, **extra)
    # Where diffusers cuts timesteps off to whole numbers, torch's rounding of x ** 0.5, which is another one on every
    # processor, may decide about one of them
    cut = config.get("use_exponential_sigmas") or config.get("use_lu_lambdas")
    if cut and len(timesteps) == len(sampler):
        assert np.abs(sampler.timesteps - timesteps).max() <= 1
        assume(np.allclose(sampler.timesteps, timesteps, rtol=1e-5, atol=1e-3))
    np.testing.assert_allclose(sampler.timesteps, timesteps, rtol=1e-5, atol=1e-3)
    *_, last = denoise(network, noise, sampler, drawing(seed))
    assume(
        np.isfinite(expected).all()
    )  # diffusers divides 0 by 0 in some runs that end at sigma_min: see dpm_multistep
    levels = sampler.noise_levels[np.isfinite(sampler.noise_levels)]
    rounding = ROUNDINGS * np.finfo(np.float32).eps * levels.max(initial=0.0)
    assert relative_error(last.latents, expected) < max(PARITY, rounding)


@property_test(40, configurations("DDIMScheduler", ddim), few_or_many, st.sampled_from([0.0, 0.0, 0.3, 0.8]))
def test_ddim(config: dict[str, Any], steps: int, eta: float) -> None:
    no_signal = config.get("rescale_betas_zero_snr") and config["prediction_type"] == "epsilon"
    assume(not no_signal or (config["clip_sample"] and not config.get("thresholding")))
    compare(config, steps, eta)


@property_test(40, configurations("PNDMScheduler", pndm), few_or_many)
def test_pndm(config: dict[str, Any], steps: int) -> None:
    assume(config["prediction_type"] != "sample" and (config["skip_prk_steps"] or steps > 3))
    compare(config, steps)


@property_test(40, configurations("EulerDiscreteScheduler", euler, euler_grids), few_or_many)
def test_euler(config: dict[str, Any], steps: int) -> None:
    compare(config, steps)


@property_test(40, configurations("DPMSolverMultistepScheduler", dpm, dpm_grids), few_or_many)
def test_dpm_solver_multistep(config: dict[str, Any], steps: int) -> None:
    assume(config["algorithm_type"].endswith("++") or config["final_sigmas_type"] == "sigma_min")
    assume(config["algorithm_type"] != "sde-dpmsolver" or config["solver_order"] < 3)
    compare(config, steps)


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 50])
@pytest.mark.parametrize("name", [None, "ddim", "pndm", "euler", "dpmpp_2m", "EulerDiscreteScheduler"])
def test_stable_diffusion_with_every_scheduler(name: str | None, steps: int) -> None:
    """The published configuration, and what a person gets by naming another scheduler."""
    config = SD15 if name is None else with_scheduler(SD15, name)
    reference = diffusers_scheduler(SD15, config["_class_name"])  # Other.from_config(pndm's)
    expected, timesteps = diffusers_run(reference, unit_noise(7), steps)
    sampler = Sampler.from_config(config, steps)
    *_, last = denoise(network, unit_noise(7), sampler)
    np.testing.assert_array_equal(sampler.timesteps, timesteps)
    assert relative_error(last.latents, expected) < PARITY


@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_in_float64(name: str, prediction: str, spacing: str) -> None:
    config = SD15 | {"_class_name": name, "prediction_type": prediction, "timestep_spacing": spacing}
    reference = diffusers_scheduler(config)
    reference.alphas_cumprod = reference.alphas_cumprod.double()
    reference.final_alpha_cumprod = reference.final_alpha_cumprod.double()
    noise = unit_noise(dtype=np.float64)
    expected, _ = diffusers_run(reference, noise, 30)
    *_, last = denoise(network, noise, Sampler.from_config(config, 30))
    assert relative_error(last.latents, expected) < PARITY_FLOAT64


@pytest.mark.parametrize("steps", [61, 103])
@pytest.mark.parametrize("name", ["ddim", "pndm", "euler", "dpmpp_2m"])
def test_trailing_may_be_one_longer(name: str, steps: int) -> None:
    """1000 / 61 is rounded down, so diffusers takes 62 trailing steps, the last at timestep -1; so do we."""
    config = with_scheduler(SD15 | {"timestep_spacing": "trailing"}, name)
    sampler = Sampler.from_config(config, steps)
    assert sampler.timesteps[-1] == -1
    assert len(sampler) == steps + (2 if name == "pndm" else 1)
    compare(config, steps)


def test_estimates_of_x0_are_those_of_diffusers() -> None:
    config = with_scheduler(SD15, "ddim") | {"clip_sample": True, "prediction_type": "v_prediction"}
    reference = diffusers_scheduler(config)
    found = []
    step = reference.step
    reference.step = lambda *given, **named: found.append(step(*given, **named)) or found[-1]
    diffusers_run(reference, unit_noise(), 10)
    steps = list(denoise(network, unit_noise(), Sampler.from_config(config, 10)))
    for ours, theirs in zip(steps, found, strict=True):
        assert relative_error(ours.denoised, theirs.pred_original_sample.numpy()) < PARITY
        assert relative_error(ours.latents, theirs.prev_sample.numpy()) < PARITY
