"""Whole runs of flow-matching and EDM samplers equal those of diffusers."""

from typing import Any

import pytest
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from hypothesis import assume
from hypothesis import strategies as st

from tests.parity.sampling.comparison import booleans, compare, configurations, few_or_many, strengths
from tests.support.sampling import property_test
from triptych.runtime.errors import SamplerError
from triptych.runtime.sampling.registry import mu_by_tokens

Configurations = st.SearchStrategy[dict[str, Any]]

shapes: Configurations = st.sampled_from(
    [
        {},
        {},
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"use_beta_sigmas": True},
        {"use_karras_sigmas": True, "sigma_min": 0.05, "sigma_max": 0.95},  # not declared, but read
    ]
)
shifts = st.fixed_dictionaries(
    {"shift": st.floats(0.3, 6.0)},
    optional={"shift_terminal": st.floats(0.01, 0.2), "num_train_timesteps": st.sampled_from([100, 1000])},
)
dynamic = st.fixed_dictionaries(
    {"use_dynamic_shifting": st.just(True), "time_shift_type": st.sampled_from(["exponential", "linear"])},
    optional={"shift": st.floats(0.3, 6.0), "shift_terminal": st.floats(0.01, 0.2)},
)
ways: Configurations = st.sampled_from([{}, {}, {"stochastic_sampling": True}, {"invert_sigmas": True}])
edm = st.fixed_dictionaries(
    {"prediction_type": st.sampled_from(["epsilon", "v_prediction"])},
    optional={
        "sigma_min": st.floats(0.002, 0.05),
        "sigma_max": st.floats(10.0, 100.0),
        "sigma_data": st.floats(0.2, 1.5),
        "sigma_schedule": st.sampled_from(["karras", "exponential"]),
        "rho": st.floats(3.0, 9.0),
        "final_sigmas_type": st.sampled_from(["zero", "sigma_min"]),
    },
)


@property_test(30, configurations("FlowMatchEulerDiscreteScheduler", shifts, shapes, ways), few_or_many, strengths)
def test_flow_euler(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(steps > 1 or not config.get("shift_terminal"))
    assume(strength == 1 or not config.get("invert_sigmas"))
    compare(config, steps, strength=strength)


@property_test(
    25, configurations("FlowMatchEulerDiscreteScheduler", dynamic, shapes, ways), few_or_many, st.floats(0.3, 1.5)
)
def test_flow_euler_with_dynamic_shifts(config: dict[str, Any], steps: int, mu: float) -> None:
    assume(steps > 1 or not config.get("shift_terminal"))
    compare(config, steps, grid={"mu": mu})


@property_test(
    20,
    configurations("FlowMatchEulerDiscreteScheduler", shifts, shapes, ways),
    st.sets(st.integers(1, 100), min_size=2, max_size=12),
    booleans,
)
def test_flow_euler_with_a_grid(config: dict[str, Any], chosen: set[int], of_timesteps: bool) -> None:
    count = config.get("num_train_timesteps", 1000)
    scale = count / 100 if of_timesteps else 1 / 100
    grid = [each * scale for each in sorted(chosen, reverse=True)]
    compare(config, None, grid={"timesteps" if of_timesteps else "sigmas": grid})


@property_test(
    12,
    configurations("FlowMatchHeunDiscreteScheduler", st.fixed_dictionaries({"shift": st.floats(0.3, 6.0)})),
    few_or_many,
    strengths,
)
def test_flow_heun(config: dict[str, Any], steps: int, strength: float) -> None:
    compare(config, steps, strength=strength)


@property_test(25, configurations("EDMEulerScheduler", edm), few_or_many, strengths)
def test_edm_euler(config: dict[str, Any], steps: int, strength: float) -> None:
    compare(config, steps, strength=strength)


solver = st.fixed_dictionaries(
    {
        "solver_order": st.integers(1, 3),
        "algorithm_type": st.sampled_from(["dpmsolver++", "dpmsolver++", "sde-dpmsolver++"]),
        "solver_type": st.sampled_from(["midpoint", "heun", "bh2"]),
    },
    optional={
        "lower_order_final": booleans,
        "euler_at_final": booleans,
        "thresholding": booleans,
        "sample_max_value": st.floats(1.0, 3.0),
    },
)


@property_test(35, configurations("EDMDPMSolverMultistepScheduler", edm, solver), few_or_many, strengths)
def test_edm_dpm_solver_multistep(config: dict[str, Any], steps: int, strength: float) -> None:
    stochastic = config["algorithm_type"] == "sde-dpmsolver++"
    # A last step as long as the rounding of sigma_min adds noise by its root
    assume(not stochastic or (config["solver_order"] < 3 and config.get("final_sigmas_type") != "sigma_min"))
    compare(config, steps, strength=strength)


@property_test(20, dynamic, st.integers(1, 20_000), st.floats(-1.0, 1.0), st.floats(0.0, 3.0), st.integers(1, 500))
def test_mu_by_tokens(config: dict[str, Any], tokens: int, base: float, most: float, first: int) -> None:
    stated = {"base_shift": base, "max_shift": most, "base_image_seq_len": first, "max_image_seq_len": 4096}
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", **config}
    given = mu_by_tokens(config | stated, tokens)
    assert given == pytest.approx(calculate_shift(tokens, first, 4096, base, most))
    assert mu_by_tokens(config, tokens) == pytest.approx(calculate_shift(tokens))
    assert mu_by_tokens(config | {"use_dynamic_shifting": False}, tokens) is None


def test_one_number_of_tokens_gives_no_line() -> None:
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True, "max_image_seq_len": 256}
    with pytest.raises(SamplerError, match="base_image_seq_len and max_image_seq_len are both 256"):
        mu_by_tokens(config, 64)
