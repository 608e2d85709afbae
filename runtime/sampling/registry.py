"""Schedulers by diffusers' class name and by short name: the function that makes the table, and its options."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SamplerError, nearest
from .dpm_multistep import dpm_multistep
from .first_order import ddim, euler
from .options import Option, choice, flag, number, numbers, only, optional_number, unused, whole
from .pndm import pndm
from .table import Table


@dataclass(frozen=True)
class Scheduler:
    """One diffusers class.

    Attributes:
        class_name: diffusers' `_class_name`.
        build: (options, steps) -> table; takes `eta` too where `has_eta`.
        options: everything that diffusers' class takes, and what of it is allowed.
        short_names: for people; each with the options that it stands for.
        has_eta: diffusers' step takes `eta`.
    """

    class_name: str
    build: Callable[..., Table]
    options: Mapping[str, Option]
    short_names: Mapping[str, Mapping[str, Any]]
    has_eta: bool = False
    paper: str = field(default="", kw_only=True)


_TRAINING = {
    "num_train_timesteps": whole(1000, least=2),
    "beta_start": number(0.0001, least=0),
    "beta_end": number(0.02, least=0),
    "beta_schedule": choice("linear", "scaled_linear", "squaredcos_cap_v2"),
    "trained_betas": numbers(),
    "steps_offset": whole(0),
}
_SPACINGS = ("leading", "linspace", "trailing")
_THRESHOLDING = {
    "thresholding": flag(False),
    "dynamic_thresholding_ratio": number(0.995, least=0, most=1),
    "sample_max_value": number(1.0, least=0),
}

SCHEDULERS = (
    Scheduler(
        "DDIMScheduler",
        ddim,
        _TRAINING
        | _THRESHOLDING
        | {
            "prediction_type": choice("epsilon", "sample", "v_prediction"),
            "timestep_spacing": choice(*_SPACINGS),
            "set_alpha_to_one": flag(True),
            "rescale_betas_zero_snr": flag(False),
            "clip_sample": flag(True),
            "clip_sample_range": number(1.0, least=0),
        },
        {"ddim": {}},
        has_eta=True,
        paper="Song, Meng and Ermon 2021, Denoising Diffusion Implicit Models, arXiv 2010.02502",
    ),
    Scheduler(
        "PNDMScheduler",
        pndm,
        _TRAINING
        | {
            "prediction_type": choice("epsilon", "v_prediction"),
            "timestep_spacing": choice(*_SPACINGS),
            "set_alpha_to_one": flag(False),
            "skip_prk_steps": flag(False),
        },
        {"pndm": {}},
        paper="Liu, Ren, Lin and Zhao 2022, Pseudo Numerical Methods for Diffusion Models, arXiv 2202.09778",
    ),
    Scheduler(
        "EulerDiscreteScheduler",
        euler,
        _TRAINING
        | {
            "prediction_type": choice("epsilon", "sample", "v_prediction"),
            "timestep_spacing": choice(*_SPACINGS, default="linspace"),
            "timestep_type": choice("discrete", "continuous"),
            "interpolation_type": choice("linear", "log_linear"),
            "use_karras_sigmas": flag(False),
            "use_exponential_sigmas": flag(False),
            "use_beta_sigmas": only(False, None),
            "sigma_min": optional_number(),
            "sigma_max": optional_number(),
            "rescale_betas_zero_snr": flag(False),
            "final_sigmas_type": choice("zero", "sigma_min"),
        },
        {"euler": {}},
        paper="Karras, Aittala, Aila and Laine 2022, algorithm 1 without churn, arXiv 2206.00364",
    ),
    Scheduler(
        "DPMSolverMultistepScheduler",
        dpm_multistep,
        _TRAINING
        | _THRESHOLDING
        | {
            "prediction_type": choice("epsilon", "sample", "v_prediction"),
            "timestep_spacing": choice(*_SPACINGS, default="linspace"),
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

# Options of diffusers' other schedulers: one configuration may serve several, and diffusers lets them pass
_OTHERS = {
    "disable_corrector",
    "noise_sampler_seed",
    "original_inference_steps",
    "predict_x0",
    "rho",
    "shift_terminal",
    "sigma_data",
    "sigma_schedule",
    "solver_p",
    "timestep_scaling",
}
FOREIGN_OPTIONS = frozenset(_OTHERS.union(*(scheduler.options for scheduler in SCHEDULERS)))

_BY_NAME: dict[str, tuple[Scheduler, Mapping[str, Any]]] = {
    scheduler.class_name: (scheduler, {}) for scheduler in SCHEDULERS
} | {short: (scheduler, options) for scheduler in SCHEDULERS for short, options in scheduler.short_names.items()}


def find(name: Any) -> tuple[Scheduler, Mapping[str, Any]]:
    """The scheduler of a class name or short name, and the options that the short name stands for.

    Raises:
        SamplerError: no such scheduler; says which names are near.
    """
    if not isinstance(name, str) or name not in _BY_NAME:
        raise SamplerError(f"unknown scheduler {name!r}; {nearest(str(name), _BY_NAME)}")
    return _BY_NAME[name]


def of_config(config: Any) -> Scheduler:
    """The scheduler that a configuration names in `_class_name`."""
    if not isinstance(config, Mapping) or "_class_name" not in config:
        raise SamplerError("a scheduler configuration is a dict with a _class_name, as in scheduler_config.json")
    return find(config["_class_name"])[0]


def defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """What every option of the configuration's scheduler is where the configuration does not say."""
    return {name: option.default for name, option in of_config(config).options.items()}


def with_scheduler(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The configuration for another scheduler of the same model, as diffusers' `Other.from_config(config)` has it.

    Everything that the configuration says is kept, and what it does not say is the other scheduler's own default.

    Args:
        config: the model's scheduler_config.json.
        name: diffusers' class name or a short name: ddim, pndm, euler, dpmpp_2m. A short name also sets the options
            that make it what it is (dpmpp_2m: algorithm_type dpmsolver++, solver_order 2).

    Raises:
        SamplerError: no such scheduler.
    """
    of_config(config)
    scheduler, implied = find(name)
    by_default = {"_use_default_values", *config.get("_use_default_values", [])}
    kept = {key: value for key, value in config.items() if key not in by_default}
    return kept | dict(implied) | {"_class_name": scheduler.class_name}
