"""Whole runs of DDIM and PNDM equal those of diffusers, and those of every scheduler on a published configuration."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from tests.parity.sampling.comparison import (
    PARITY_FLOAT64,
    STABLE_DIFFUSION,
    booleans,
    compare,
    few_or_many,
    strengths,
    thresholding,
    trained,
)
from tests.parity.sampling.reference import diffusers_run, diffusers_scheduler
from tests.support.sampling import PARITY, drawing, network, property_test, relative_error, unit_noise
from triptych.runtime.sampling import Sampler, denoise, with_scheduler
from triptych.runtime.sampling.registry import SCHEDULERS

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

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:__array_:DeprecationWarning")

ddim = st.fixed_dictionaries(
    {"set_alpha_to_one": booleans, "clip_sample": booleans, "clip_sample_range": st.floats(0.5, 3.0)},
    optional={**thresholding, "rescale_betas_zero_snr": booleans, "dynamic_thresholding_ratio": st.floats(0.5, 1.0)},
)
pndm = st.fixed_dictionaries({"skip_prk_steps": booleans}, optional={"set_alpha_to_one": booleans})


@property_test(30, trained("DDIMScheduler", ddim), few_or_many, st.sampled_from([0.0, 0.0, 0.3, 0.8]), strengths)
def test_ddim(config: dict[str, Any], steps: int, eta: float, strength: float) -> None:
    no_signal = config.get("rescale_betas_zero_snr") and config["prediction_type"] == "epsilon"
    assume(not no_signal or (config["clip_sample"] and not config.get("thresholding")))
    compare(config, steps, eta=eta, strength=strength)


@property_test(30, trained("PNDMScheduler", pndm), few_or_many, strengths)
def test_pndm(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(config["prediction_type"] != "sample" and (config["skip_prk_steps"] or steps > 3))
    compare(config, steps, strength=strength)


OF_BETAS = [None, *(name for each in SCHEDULERS if "beta_start" in each.options for name in each.short_names)]


# Of the step from sigma 14.6 to 0.03, diffusers has a difference of float32 squares: 5.8e-5, right to a per cent or so,
# which depends on the processor
CANCELLED = 1e-3


@pytest.mark.parametrize("steps", [2, 20])
@pytest.mark.parametrize("name", OF_BETAS)
def test_stable_diffusion_with_every_scheduler(name: str | None, steps: int) -> None:
    """The published configuration, and what a person gets by naming another scheduler."""
    config: dict[str, Any] = dict(SD15 if name is None else with_scheduler(SD15, name))
    # Other.from_config(pndm's), with the options that a short name stands for
    reference = diffusers_scheduler(SD15 | {key: config[key] for key in config.keys() - SD15}, config["_class_name"])
    expected, timesteps = diffusers_run(reference, unit_noise(7), steps, draw=drawing(7))
    sampler = Sampler.from_config(config, steps)
    *_, last = denoise(network, unit_noise(7), sampler, drawing(7))
    np.testing.assert_allclose(sampler.timesteps, timesteps, rtol=1e-5, atol=1e-2)
    assert relative_error(last.latents, expected) < (CANCELLED if (name, steps) == ("dpm2_a", 2) else PARITY)


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


@pytest.mark.parametrize("name", ["ddim", "euler", "euler_a", "heun", "dpm2", "dpm2_a", "lms"])
def test_estimates_of_x0_are_those_of_diffusers(name: str) -> None:
    config = with_scheduler(SD15, name) | {"clip_sample": name == "ddim", "prediction_type": "v_prediction"}
    reference = diffusers_scheduler(config)
    found: list[Any] = []
    step = reference.step

    def recorded(*given: Any, **named: Any) -> Any:
        found.append(step(*given, **named))
        return found[-1]

    reference.step = recorded
    diffusers_run(reference, unit_noise(), 10, draw=drawing(5))
    steps = list(denoise(network, unit_noise(), Sampler.from_config(config, 10), drawing(5)))
    for ours, theirs in zip(steps, found, strict=True):
        assert relative_error(ours.denoised, theirs.pred_original_sample.numpy()) < PARITY
        if name == "ddim":  # the others keep latents in another scale
            assert relative_error(ours.latents, theirs.prev_sample.numpy()) < PARITY
