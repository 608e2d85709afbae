"""Whole runs of the solvers in log(alpha / sigma), of DDPM and of few-step samplers equal those of diffusers."""

from typing import Any

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from tests.runtime.sampling_parity import (
    booleans,
    compare,
    custom_timesteps,
    few_or_many,
    strengths,
    thresholding,
    trained,
)
from tests.runtime.sampling_reference import property_test

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:__array__ implementation:DeprecationWarning")

LEVELS: list[dict[str, Any]] = [
    {},
    {},
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
]
flow = st.fixed_dictionaries(
    {
        "use_flow_sigmas": st.just(True),
        "prediction_type": st.sampled_from(["flow_prediction", "flow_prediction", "sample", "epsilon"]),
        "flow_shift": st.floats(0.5, 6.0),
    }
)
levels = st.one_of(st.sampled_from(LEVELS), st.sampled_from(LEVELS), flow)
# Not declared by all of these classes, but read by them all
ends = st.fixed_dictionaries({}, optional={"sigma_min": st.floats(0.01, 0.1), "sigma_max": st.floats(5.0, 20.0)})
final = st.sampled_from(["zero", "sigma_min"])
clipped = st.sampled_from([float("-inf"), float("-inf"), -5.1])
multistep = st.fixed_dictionaries(
    {
        "solver_order": st.integers(1, 3),
        "algorithm_type": st.sampled_from(
            ["dpmsolver++", "dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver"]
        ),
        "solver_type": st.sampled_from(["midpoint", "heun", "bh2"]),
        "final_sigmas_type": final,
    },
    optional={
        **thresholding,
        "lower_order_final": booleans,
        "euler_at_final": booleans,
        "rescale_betas_zero_snr": booleans,
        "lambda_min_clipped": clipped,
        "variance_type": st.sampled_from([None, "fixed_small"]),
    },
)
lu = st.sampled_from([{}, {}, {}, {"use_lu_lambdas": True}])


def allowed(config: dict[str, Any]) -> bool:
    """Options that diffusers' DPM solvers refuse, or that leave NaN."""
    of_flow = config.get("use_flow_sigmas", False)
    epsilon = config["algorithm_type"] in ("dpmsolver", "sde-dpmsolver")
    return not (
        (epsilon and (config["final_sigmas_type"] == "zero" or config["prediction_type"] == "flow_prediction"))
        or (config["algorithm_type"] == "sde-dpmsolver" and config["solver_order"] == 3)
        or (of_flow and config.get("use_lu_lambdas"))
        # the last step goes up in noise: to sigma_min of the betas, which flow matching knows nothing of
        or (of_flow and config["algorithm_type"].startswith("sde") and config["final_sigmas_type"] == "sigma_min")
    )


@property_test(60, trained("DPMSolverMultistepScheduler", multistep, lu, levels, ends), few_or_many, strengths)
def test_dpm_solver_multistep(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(allowed(config))
    compare(config, steps, strength=strength)


@property_test(20, trained("DPMSolverMultistepScheduler", multistep), custom_timesteps, strengths)
def test_dpm_solver_multistep_with_timesteps(config: dict[str, Any], timesteps: list[int], strength: float) -> None:
    assume(allowed(config) and int(len(timesteps) * strength) > 0)
    compare(config, None, grid={"timesteps": timesteps}, strength=strength)
