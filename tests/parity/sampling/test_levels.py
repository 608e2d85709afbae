"""Whole runs of the samplers of k-diffusion equal those of diffusers."""

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import assume
from hypothesis import strategies as st

from tests.parity.sampling.comparison import (
    PARITY_FLOAT64,
    STABLE_DIFFUSION,
    booleans,
    compare,
    custom_timesteps,
    few_or_many,
    strengths,
    trained,
)
from tests.parity.sampling.reference import diffusers_run, diffusers_scheduler
from tests.support.sampling import network, property_test, relative_error, unit_noise
from triptych.runtime.sampling import Sampler, denoise
from triptych.runtime.sampling.grids.align_your_steps import SIGMAS, TIMESTEPS
from triptych.runtime.sampling.grids.spacing import symmetric_beta_quantile

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:__array_:DeprecationWarning")

shapes = st.builds(
    lambda shape, ends: shape | ends,
    st.sampled_from([{}, {}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_beta_sigmas": True}]),
    # Not declared by all of the classes, but read by them
    st.fixed_dictionaries({}, optional={"sigma_min": st.floats(0.01, 0.1), "sigma_max": st.floats(5.0, 20.0)}),
)
no_sample = st.fixed_dictionaries({"prediction_type": st.sampled_from(["epsilon", "v_prediction"])})
euler = st.fixed_dictionaries(
    {},
    optional={
        "interpolation_type": st.sampled_from(["linear", "log_linear"]),
        "timestep_type": st.sampled_from(["discrete", "continuous"]),
        "final_sigmas_type": st.sampled_from(["zero", "sigma_min"]),
        "rescale_betas_zero_snr": booleans,
    },
)
heun = st.fixed_dictionaries(
    {}, optional={"clip_sample": booleans, "clip_sample_range": st.floats(0.5, 3.0), "beta_schedule": st.just("exp")}
)
euler_ancestral = st.fixed_dictionaries({}, optional={"rescale_betas_zero_snr": booleans})
custom_sigmas = st.sets(st.integers(1, 400), min_size=2, max_size=12).map(
    lambda chosen: [each / 27 for each in sorted(chosen, reverse=True)]
)


def not_steep(config: dict[str, Any], steps: int) -> bool:
    """No step leaves less than a hundredth of its noise level.

    diffusers divides what float32 left of the higher level by the lower one, and subtracts their squares.
    """
    levels = Sampler.from_config(config, steps).noise_levels
    return bool((levels[:-1] < 100 * levels[1:]).all())


@property_test(40, trained("EulerDiscreteScheduler", euler, shapes), few_or_many, strengths)
def test_euler(config: dict[str, Any], steps: int, strength: float) -> None:
    compare(config, steps, strength=strength)


@property_test(10, trained("EulerDiscreteScheduler", euler), custom_timesteps, strengths)
def test_euler_with_timesteps(config: dict[str, Any], timesteps: list[int], strength: float) -> None:
    assume(config.get("timestep_type") != "continuous" and int(len(timesteps) * strength) > 0)
    compare(config, None, strength=strength, grid={"timesteps": timesteps})


@property_test(10, trained("EulerDiscreteScheduler", euler, shapes), custom_sigmas, booleans, strengths)
def test_euler_with_sigmas(config: dict[str, Any], sigmas: list[float], to_zero: bool, strength: float) -> None:
    sigmas = [*sigmas, 0.0] if to_zero else sigmas
    assume(int((len(sigmas) - 1) * strength) > 0)
    compare(config, None, strength=strength, grid={"sigmas": sigmas})


@property_test(20, trained("EulerAncestralDiscreteScheduler", euler_ancestral, no_sample), few_or_many, strengths)
def test_euler_ancestral(config: dict[str, Any], steps: int, strength: float) -> None:
    compare(config, steps, strength=strength)


@property_test(25, trained("HeunDiscreteScheduler", heun, shapes), few_or_many, strengths)
def test_heun(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(not_steep(config, steps))
    compare(config, steps, strength=strength)


@property_test(6, trained("HeunDiscreteScheduler", heun), custom_timesteps)
def test_heun_with_timesteps(config: dict[str, Any], timesteps: list[int]) -> None:
    compare(config, None, grid={"timesteps": timesteps})


@property_test(12, trained("KDPM2DiscreteScheduler", shapes, no_sample), few_or_many, strengths)
def test_kdpm2(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(not_steep(config, steps))
    compare(config, steps, strength=strength, timesteps_within=2e-3)


@property_test(12, trained("KDPM2AncestralDiscreteScheduler", shapes, no_sample), few_or_many, strengths)
def test_kdpm2_ancestral(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(not_steep(config, steps))
    compare(config, steps, strength=strength, timesteps_within=2e-2)


@property_test(20, trained("LMSDiscreteScheduler", shapes), few_or_many, strengths)
def test_lms(config: dict[str, Any], steps: int, strength: float) -> None:
    compare(config, steps, strength=strength)


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("name", sorted(TIMESTEPS))
def test_align_your_steps(name: str, strength: float) -> None:
    config = {"_class_name": "EulerDiscreteScheduler", **STABLE_DIFFUSION}
    compare(config, None, strength=strength, grid={"timesteps": TIMESTEPS[name]})
    assert Sampler.from_config(config, timesteps=name).timesteps.tolist() == list(TIMESTEPS[name])


def test_align_your_steps_are_those_of_diffusers() -> None:
    from diffusers.schedulers import AysSchedules

    timesteps = {"ays_sd15": "StableDiffusionTimesteps", "ays_sdxl": "StableDiffusionXLTimesteps"}
    sigmas = {
        "ays_sd15": "StableDiffusionSigmas",
        "ays_sdxl": "StableDiffusionXLSigmas",
        "ays_svd": "StableDiffusionVideoSigmas",
    }
    assert {name: AysSchedules[key] for name, key in timesteps.items()} == {
        name: list(values) for name, values in TIMESTEPS.items()
    }
    assert {name: AysSchedules[key] for name, key in sigmas.items()} == {
        name: list(values) for name, values in SIGMAS.items()
    }


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", ["HeunDiscreteScheduler", "LMSDiscreteScheduler"])
def test_in_float64(name: str, prediction: str) -> None:
    config = {"_class_name": name, **STABLE_DIFFUSION, "prediction_type": prediction, "timestep_spacing": "trailing"}
    reference, sampler = diffusers_scheduler(config), Sampler.from_config(config, 30)
    set_timesteps = reference.set_timesteps

    def in_float64(steps: int) -> None:
        set_timesteps(steps)
        # torch's float32 roots are another on every processor
        levels = torch.from_numpy(np.append(sampler.noise_levels, 0.0))
        torch.testing.assert_close(reference.sigmas.double(), levels, rtol=1e-6, atol=0)
        reference.sigmas = levels

    reference.set_timesteps = in_float64
    noise = unit_noise(dtype=np.float64)
    expected, _ = diffusers_run(reference, noise, 30)
    *_, last = denoise(network, noise, sampler)
    assert relative_error(last.latents, expected) < PARITY_FLOAT64


@pytest.mark.parametrize("shape", [0.3, 0.6, 1.0, 2.5])
def test_quantiles_of_the_beta_distribution_are_those_of_scipy(shape: float) -> None:
    probabilities = np.append(np.linspace(0, 1, 1000), [1e-12, 1 - 1e-12, 0.4999, 0.5001])
    expected = scipy.stats.beta.ppf(probabilities, shape, shape)
    np.testing.assert_allclose(symmetric_beta_quantile(probabilities, shape), expected, rtol=1e-13, atol=1e-15)
