"""Whole runs of the solvers in log(alpha / sigma), of DDPM and of few-step samplers equal those of diffusers."""

import re
import sys
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import assume
from hypothesis import strategies as st

from tests.parity.sampling.comparison import (
    LEVELS,
    PARITY_FLOAT64,
    booleans,
    compare,
    custom_timesteps,
    few_or_many,
    strengths,
    thresholding,
    trained,
)
from tests.parity.sampling.reference import diffusers_run, diffusers_scheduler
from tests.support.sampling import drawing, network, property_test, relative_error, unit_noise
from triptych.runtime.errors import SamplerError
from triptych.runtime.sampling import Sampler, denoise, with_scheduler
from triptych.runtime.sampling.grids.schedule import training_schedule
from triptych.runtime.sampling.shared_options import TrainingOptions

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:__array_:DeprecationWarning")

SHAPES: list[dict[str, Any]] = [
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
levels = st.one_of(st.sampled_from(SHAPES), st.sampled_from(SHAPES), flow)
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


def same_in_float32(config: dict[str, Any]) -> bool:
    """The smallest noise levels of rescaled betas hang on how torch's library rounds square roots; these run on them.

    See the test in float64.
    """
    third = config.get("algorithm_type") == "sde-dpmsolver++" and config["solver_order"] == 3
    return not config.get("rescale_betas_zero_snr") or (config["final_sigmas_type"] == "zero" and not third)


def allowed(config: dict[str, Any]) -> bool:
    """Options that diffusers' DPM solvers refuse, or that leave NaN."""
    of_flow = config.get("use_flow_sigmas", False)
    epsilon = config["algorithm_type"] in ("dpmsolver", "sde-dpmsolver")
    return not (
        (epsilon and (config["final_sigmas_type"] == "zero" or config["prediction_type"] == "flow_prediction"))
        or (config["algorithm_type"] == "sde-dpmsolver" and config["solver_order"] == 3)
        or (of_flow and config.get("use_lu_lambdas"))
        # the last step goes up in noise: to sigma_min of the betas, which is not that of flow matching or of sigma_min
        or (
            (of_flow or "sigma_min" in config)
            and config["algorithm_type"].startswith("sde")
            and config["final_sigmas_type"] == "sigma_min"
        )
    )


@property_test(30, trained("DPMSolverMultistepScheduler", multistep, lu, levels, ends), few_or_many, strengths)
def test_dpm_solver_multistep(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(allowed(config) and same_in_float32(config))
    compare(config, steps, strength=strength)


@property_test(8, trained("DPMSolverMultistepScheduler", multistep), custom_timesteps, strengths)
def test_dpm_solver_multistep_with_timesteps(config: dict[str, Any], timesteps: list[int], strength: float) -> None:
    assume(allowed(config) and same_in_float32(config) and int(len(timesteps) * strength) > 0)
    compare(config, None, grid={"timesteps": timesteps}, strength=strength)


singlestep = st.fixed_dictionaries(
    {
        "solver_order": st.integers(1, 3),
        "algorithm_type": st.sampled_from(["dpmsolver++", "dpmsolver++", "dpmsolver", "sde-dpmsolver++"]),
        "solver_type": st.sampled_from(["midpoint", "heun", "logrho"]),
        "final_sigmas_type": final,
    },
    optional={**thresholding, "lower_order_final": booleans, "lambda_min_clipped": clipped},
)


def allowed_singlestep(config: dict[str, Any]) -> bool:
    """diffusers' thresholding of eps fails on shapes."""
    return allowed(config) and not (config["algorithm_type"] == "dpmsolver" and config.get("thresholding"))


@property_test(25, trained("DPMSolverSinglestepScheduler", singlestep, levels, ends), few_or_many, strengths)
def test_dpm_solver_singlestep(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(allowed_singlestep(config))
    compare(config, steps, strength=strength)


@property_test(6, trained("DPMSolverSinglestepScheduler", singlestep), custom_timesteps, strengths)
def test_dpm_solver_singlestep_with_timesteps(config: dict[str, Any], timesteps: list[int], strength: float) -> None:
    assume(allowed_singlestep(config) and int(len(timesteps) * strength) > 0)
    compare(config, None, grid={"timesteps": timesteps}, strength=strength)


deis = st.fixed_dictionaries(
    {"solver_order": st.integers(1, 3), "algorithm_type": st.sampled_from(["deis", "dpmsolver++"])},
    optional={**thresholding, "lower_order_final": booleans},
)


@property_test(20, trained("DEISMultistepScheduler", deis, levels, ends), few_or_many, strengths)
def test_deis_multistep(config: dict[str, Any], steps: int, strength: float) -> None:
    # Beta levels and those of many steps are near each other: what diffusers integrates for the third order in float32
    # cancels; see the test in float64
    assume(config["solver_order"] < 3 or (steps <= 20 and not config.get("use_beta_sigmas")))
    compare(config, steps, strength=strength)


unipc = st.fixed_dictionaries(
    {
        "solver_order": st.integers(1, 3),
        "solver_type": st.sampled_from(["bh1", "bh2", "heun"]),
        "predict_x0": st.sampled_from([True, True, False]),
        "final_sigmas_type": final,
    },
    optional={
        **thresholding,
        "lower_order_final": booleans,
        "rescale_betas_zero_snr": booleans,
        "disable_corrector": st.lists(st.integers(0, 12), max_size=4),
    },
)


def allowed_unipc(config: dict[str, Any]) -> bool:
    """Options that leave NaN in diffusers."""
    to_zero = config["final_sigmas_type"] == "zero"
    return not (
        (to_zero and (not config["predict_x0"] or not config.get("lower_order_final", True)))
        or (not config["predict_x0"] and config["prediction_type"] == "flow_prediction")
    )


@property_test(30, trained("UniPCMultistepScheduler", unipc, levels, ends), few_or_many, strengths)
def test_unipc_multistep(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(allowed_unipc(config) and same_in_float32(config))
    compare(config, steps, strength=strength)


dynamic = st.fixed_dictionaries(
    {
        "use_flow_sigmas": st.just(True),
        "prediction_type": st.just("flow_prediction"),
        "use_dynamic_shifting": st.just(True),
        "time_shift_type": st.sampled_from(["exponential", "linear"]),
    }
)
terminal = st.fixed_dictionaries({}, optional={"shift_terminal": st.floats(0.02, 0.3)})
karras_flow = st.just({"use_flow_sigmas": True, "use_karras_sigmas": True, "prediction_type": "flow_prediction"})
mus = st.floats(0.1, 3.0)


@property_test(15, trained("UniPCMultistepScheduler", unipc, dynamic, terminal), few_or_many, mus)
def test_unipc_with_dynamic_shifting(config: dict[str, Any], steps: int, mu: float) -> None:
    assume(allowed_unipc(config) and (steps > 1 or "shift_terminal" not in config))
    compare(config, steps, grid={"mu": mu})


@property_test(6, trained("UniPCMultistepScheduler", unipc, karras_flow), few_or_many)
def test_unipc_on_karras_levels_of_flow(config: dict[str, Any], steps: int) -> None:
    assume(allowed_unipc(config))
    compare(config, steps)


@property_test(8, trained("UniPCMultistepScheduler", unipc, flow), st.sets(st.integers(1, 100), min_size=1, max_size=9))
def test_unipc_with_sigmas(config: dict[str, Any], chosen: set[int]) -> None:
    assume(allowed_unipc(config) and config["prediction_type"] != "epsilon")
    compare(config, None, grid={"sigmas": np.array(sorted(chosen, reverse=True)) / 100})


@property_test(8, trained("DPMSolverMultistepScheduler", multistep, dynamic), few_or_many, mus)
def test_dpm_solver_with_dynamic_shifting(config: dict[str, Any], steps: int, mu: float) -> None:
    assume(allowed(config) and config["time_shift_type"] == "exponential")
    compare(config, steps, grid={"mu": mu})


sa = st.fixed_dictionaries(
    {
        "predictor_order": st.integers(1, 4),
        "corrector_order": st.integers(1, 4),
        "algorithm_type": st.sampled_from(["data_prediction", "noise_prediction"]),
    },
    optional={**thresholding, "lower_order_final": booleans, "lambda_min_clipped": clipped},
)


def allowed_sa(config: dict[str, Any]) -> bool:
    """Options that diffusers refuses when it steps."""
    epsilon = config["algorithm_type"] == "noise_prediction"
    return not epsilon or (config["prediction_type"] != "flow_prediction" and not config.get("thresholding"))


@property_test(20, trained("SASolverScheduler", sa, levels, ends), few_or_many, strengths)
def test_sa_solver(config: dict[str, Any], steps: int, strength: float) -> None:
    # Higher orders are sums of large numbers in diffusers, of which float32 leaves little: see the test in float64
    assume(allowed_sa(config) and max(config["predictor_order"], config["corrector_order"]) < 3)
    # Likewise in eps from almost pure noise, where the cosine schedule and flow sigmas begin
    levels = Sampler.from_config(config, steps).noise_levels
    assume(config["algorithm_type"] != "noise_prediction" or levels.max() < 100)
    assume(strength == 1 or not any(config.get(flag) for flag in config if flag.endswith("_sigmas")))
    compare(config, steps, strength=strength)


ddpm = st.fixed_dictionaries(
    {"clip_sample": booleans, "variance_type": st.sampled_from(["fixed_small", "fixed_small_log", "fixed_large"])},
    optional={**thresholding, "clip_sample_range": st.floats(0.5, 3.0), "rescale_betas_zero_snr": booleans},
)
more_betas = st.sampled_from([{}, {}, {"beta_schedule": "sigmoid"}, {"beta_schedule": "laplace"}])


def says_something(config: dict[str, Any], *, clips: bool) -> bool:
    """Where the latents are pure noise, eps says nothing about x0, unless that is clipped."""
    no_signal = config.get("rescale_betas_zero_snr") and config["prediction_type"] == "epsilon"
    return not no_signal or (clips and config.get("clip_sample", False) and not config.get("thresholding"))


@property_test(20, trained("DDPMScheduler", ddpm, more_betas), few_or_many, strengths)
def test_ddpm(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(says_something(config, clips=True))
    compare(config, steps, strength=strength)


@property_test(6, trained("DDPMScheduler", ddpm), custom_timesteps, strengths)
def test_ddpm_with_timesteps(config: dict[str, Any], timesteps: list[int], strength: float) -> None:
    assume(says_something(config, clips=True) and int(len(timesteps) * strength) > 0)
    compare(config, None, grid={"timesteps": timesteps}, strength=strength)


distilled = st.fixed_dictionaries(
    {"original_inference_steps": st.integers(20, 100)},
    optional={
        **thresholding,
        "clip_sample": booleans,
        "clip_sample_range": st.floats(0.5, 3.0),
        "rescale_betas_zero_snr": booleans,
        "timestep_scaling": st.floats(0.5, 20.0),
    },
)
few = st.integers(1, 20)


@property_test(15, trained("LCMScheduler", distilled), few, strengths)
def test_lcm(config: dict[str, Any], steps: int, strength: float) -> None:
    assume(says_something(config, clips=True))
    compare(config, steps, strength=strength)


@property_test(6, trained("LCMScheduler", distilled), custom_timesteps)
def test_lcm_with_timesteps(config: dict[str, Any], timesteps: list[int]) -> None:
    assume(says_something(config, clips=True))
    compare(config, None, grid={"timesteps": timesteps})


gammas = st.sampled_from([0.0, 0.3, 0.8, 1.0])


@property_test(15, trained("TCDScheduler", distilled), few, strengths, gammas)
def test_tcd(config: dict[str, Any], steps: int, strength: float, eta: float) -> None:
    assume(says_something(config, clips=False))
    compare(config, steps, strength=strength, eta=eta)


@property_test(6, trained("TCDScheduler", distilled), custom_timesteps, gammas)
def test_tcd_with_timesteps(config: dict[str, Any], timesteps: list[int], eta: float) -> None:
    assume(says_something(config, clips=False))
    compare(config, None, grid={"timesteps": timesteps}, eta=eta)


class _InFloat64:
    """torch, but that float32 is float64: the steps of some solvers go down to float32 otherwise."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def compare_in_float64(config: dict[str, Any], steps: int) -> None:
    """Same final latents to 1e-9, from the same noise levels: those of diffusers are float32."""
    sampler, reference = Sampler.from_config(config, steps), diffusers_scheduler(config)
    set_timesteps, step = reference.set_timesteps, reference.step
    module = sys.modules[type(reference).__module__]

    def set_levels(*given: Any, **named: Any) -> None:
        set_timesteps(*given, **named)
        if hasattr(reference, "sigmas"):
            positions = np.concatenate([np.stack([sampler.alphas, sampler.sigmas], axis=1), sampler.table.end[-1:]])
            levels = positions[:, 1] / (1.0 if config.get("use_flow_sigmas") else positions[:, 0])
            np.testing.assert_allclose(levels, reference.sigmas.numpy(), rtol=LEVELS)
            reference.sigmas = torch.from_numpy(levels)
        else:
            assert isinstance(sampler.options, TrainingOptions)
            schedule = training_schedule(sampler.options)
            reference.alphas_cumprod = torch.from_numpy(schedule.alphas_cumprod.astype(float))

    def step_in_float64(*given: Any, **named: Any) -> Any:
        with mock.patch.object(module, "torch", _InFloat64()):
            return step(*given, **named)

    reference.set_timesteps, reference.step = set_levels, step_in_float64
    noise = unit_noise(dtype=np.float64)
    eta = 0.3 if config["_class_name"] == "TCDScheduler" else None
    sampler = Sampler.from_config(config, steps, eta=eta or 0.0)
    expected, timesteps = diffusers_run(reference, noise, steps, draw=drawing(0, np.float64), eta=eta)
    assume(np.isfinite(expected).all() and np.array_equal(timesteps, sampler.timesteps))
    *_, last = denoise(network, noise, sampler, drawing(0, np.float64))
    assert relative_error(last.latents, expected) < PARITY_FLOAT64


IN_FLOAT64 = st.one_of(
    trained("DPMSolverMultistepScheduler", multistep, lu, levels).filter(allowed),
    trained("DPMSolverSinglestepScheduler", singlestep, levels).filter(allowed_singlestep),
    trained("DEISMultistepScheduler", deis, levels),
    trained("UniPCMultistepScheduler", unipc, levels).filter(allowed_unipc),
    trained("SASolverScheduler", sa, levels).filter(allowed_sa),
    trained("SASolverScheduler", sa, levels).filter(allowed_sa),
    trained("DDPMScheduler", ddpm).filter(lambda config: says_something(config, clips=False)),
    trained("TCDScheduler", distilled).filter(lambda config: says_something(config, clips=False)),
)


@property_test(50, IN_FLOAT64, few_or_many)
def test_in_float64(config: dict[str, Any], steps: int) -> None:
    assume(not config.get("thresholding"))  # its thresholds are float32
    assume(steps <= config.get("original_inference_steps", steps))
    # Beta levels are so near each other that diffusers' polynomials of SA-Solver cancel in float64 too
    assume(config["_class_name"] != "SASolverScheduler" or not config.get("use_beta_sigmas"))
    compare_in_float64(config, steps)


MULTISTEP: dict[str, Any] = {"_class_name": "DPMSolverMultistepScheduler"}
SINGLESTEP: dict[str, Any] = {"_class_name": "DPMSolverSinglestepScheduler"}
UNIPC: dict[str, Any] = {"_class_name": "UniPCMultistepScheduler"}
OF_FLOW: dict[str, Any] = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


@pytest.mark.parametrize(
    ("config", "run", "message"),
    [
        (MULTISTEP | {"algorithm_type": "dpmsolver"}, {}, "algorithm_type=dpmsolver cannot end at sigma 0"),
        (MULTISTEP | {"variance_type": "learned_range"}, {}, 'variance_type="learned_range" is not supported'),
        (MULTISTEP | {"use_flow_sigmas": True, "prediction_type": "v_prediction"}, {}, "v_prediction is not that of"),
        (MULTISTEP | {"use_dynamic_shifting": True}, {"mu": 1.0}, "does nothing without use_flow_sigmas=true"),
        (MULTISTEP | OF_FLOW, {"timesteps": [9, 5]}, "timesteps exclude use_flow_sigmas"),
        (MULTISTEP | {"use_lu_lambdas": True}, {"timesteps": [9, 5]}, "timesteps exclude use_lu_lambdas"),
        (MULTISTEP, {"timesteps": [9.5, 9.2]}, "timesteps must be whole numbers here; 9.5 is not"),
        (MULTISTEP, {"timesteps": [1000, 5]}, "timesteps begin at 1000; the last training timestep is 999"),
        (MULTISTEP, {"sigmas": [1.0, 0.5]}, "takes no sigmas; it takes mu, timesteps"),
        (
            SINGLESTEP | {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "thresholding": True},
            {},
            "algorithm_type=dpmsolver takes no thresholding=true",
        ),
        (UNIPC | {"solver_p": {}}, {}, "solver_p={} is not supported; allowed: null"),
        (UNIPC | {"disable_corrector": "0"}, {}, 'disable_corrector="0" is not supported; allowed: a list of whole'),
        (UNIPC | {"predict_x0": False}, {}, "predict_x0=false cannot end at sigma 0"),
        (UNIPC | {"lower_order_final": False}, {}, "lower_order_final=false cannot end at sigma 0"),
        (UNIPC | OF_FLOW | {"use_dynamic_shifting": True}, {}, "use_dynamic_shifting needs mu"),
        (UNIPC | OF_FLOW | {"use_beta_sigmas": True}, {}, "use_beta_sigmas and use_flow_sigmas exclude each other"),
        (UNIPC | OF_FLOW, {"sigmas": [0.5, 0.0]}, "sigmas go from 0.5 to 0; allowed: above 0, to 1"),
        (UNIPC, {"sigmas": [1.0, 0.5]}, "need use_flow_sigmas=true"),
        (
            {"_class_name": "SASolverScheduler", "use_karras_sigmas": True},
            {"strength": 0.5},
            "strength below 1 and use_karras_sigmas exclude each other",
        ),
        ({"_class_name": "SASolverScheduler", "predictor_order": 5}, {}, "allowed: whole numbers from 1 to 4"),
        ({"_class_name": "DEISMultistepScheduler", "algorithm_type": "sde-dpmsolver"}, {}, "allowed: deis"),
        ({"_class_name": "DDPMScheduler", "variance_type": "learned"}, {}, "allowed: fixed_small, fixed_small_log"),
        ({"_class_name": "LCMScheduler", "original_inference_steps": 10}, {}, "num_inference_steps=20 is too many"),
        ({"_class_name": "LCMScheduler", "original_inference_steps": 1001}, {}, "allowed: up to 1000"),
        ({"_class_name": "LCMScheduler"}, {"eta": 0.5}, "LCMScheduler takes no eta; it takes timesteps"),
        ({"_class_name": "TCDScheduler"}, {"eta": 1.5}, "eta=1.5 is out of range; allowed: 0 to 1"),
    ],
)
def test_what_is_refused(config: dict[str, Any], run: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplerError, match=re.escape(message)) as raised:
        Sampler.from_config(config, **run)
    assert "\n" not in str(raised.value)


def test_a_configuration_of_ddpm_gives_its_solvers_nothing_that_they_refuse() -> None:
    """DDPM's variance_type says nothing to DPM-Solver, and DPM-Solver's null is DDPM's default."""
    config = {"_class_name": "DDPMScheduler", "variance_type": "fixed_small", "clip_sample": True}
    for name in ("dpmpp_2m", "dpmpp_2s", "sa_solver"):
        assert len(Sampler.from_config(with_scheduler(config, name), 10)) == 10
    multistep = {"_class_name": "DPMSolverMultistepScheduler", "variance_type": None}
    assert Sampler.from_config(with_scheduler(multistep, "ddpm"), 10).config["variance_type"] == "fixed_small"
