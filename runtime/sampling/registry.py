"""Schedulers by diffusers' class name and by short name, gathered from the modules that make their tables."""

from collections.abc import Mapping
from typing import Any

from ..errors import SamplerError, lookup
from .scheduler import Scheduler
from .solvers import (
    consistency,
    ddim,
    ddpm,
    deis,
    dpm_multistep,
    dpm_singlestep,
    edm,
    euler,
    flow_match,
    lms,
    pndm,
    sa_solver,
    two_stage,
    unipc,
)

SCHEDULERS: tuple[Scheduler, ...] = (
    *ddim.SCHEDULERS,
    *ddpm.SCHEDULERS,
    *pndm.SCHEDULERS,
    *euler.SCHEDULERS,
    *two_stage.SCHEDULERS,
    *lms.SCHEDULERS,
    *edm.SCHEDULERS,
    *flow_match.SCHEDULERS,
    *dpm_multistep.SCHEDULERS,
    *dpm_singlestep.SCHEDULERS,
    *deis.SCHEDULERS,
    *unipc.SCHEDULERS,
    *sa_solver.SCHEDULERS,
    *consistency.SCHEDULERS,
)

_TOKENS = "it samples discrete tokens, not latents with Gaussian noise"
_TREE = "its noise comes from a Brownian tree, not from independent draws"
_VIDEO = "it is made for a video model's pipeline"
_BATCHED = "it is {}, a batch of timesteps at a time"
# Classes of diffusers that no table can express -> the reason
UNSUPPORTED: Mapping[str, str] = {
    "AmusedScheduler": _TOKENS,
    "BlockRefinementScheduler": _TOKENS,
    "CMStochasticIterativeScheduler": "it is made for the unconditional models of consistency training",
    "CogVideoXDDIMScheduler": _VIDEO,
    "CogVideoXDPMScheduler": _VIDEO,
    "ConsistencyDecoderScheduler": "it is a part of a decoder",
    "CosineDPMSolverMultistepScheduler": _TREE,
    "DDIMInverseScheduler": "it goes from an image to noise",
    "DDIMParallelScheduler": _BATCHED.format("DDIMScheduler"),
    "DDPMParallelScheduler": _BATCHED.format("DDPMScheduler"),
    "DDPMWuerstchenScheduler": "its timesteps are shares of a continuous time, which only Würstchen's denoisers take",
    "DPMSolverMultistepInverseScheduler": "it goes from an image to noise",
    "DPMSolverSDEScheduler": _TREE,
    "DiscreteDDIMScheduler": _TOKENS,
    "EntropyBoundScheduler": _TOKENS,
    "FlowMapEulerDiscreteScheduler": "its denoisers take two times, those of the start and the end of each step",
    "FlowMatchLCMScheduler": "it changes the size of the latents on the way",
    "HeliosDMDScheduler": _VIDEO,
    "HeliosScheduler": _VIDEO,
    "IPNDMScheduler": "its noise levels are the sines of its timesteps, whatever the betas of a configuration",
    "KarrasVeScheduler": "diffusers has deprecated it",
    "LTXEulerAncestralRFScheduler": _VIDEO,
    "MiniMaxH3Scheduler": _VIDEO,
    "PiflowScheduler": "its denoisers return a policy, not a prediction",
    "RFD4ProteinaScheduler": "it is made for proteins",
    "RePaintScheduler": "it goes back and forth with a mask of the image",
    "SCMScheduler": "its denoisers take angles on a circle (TrigFlow)",
    "ScoreSdeVeScheduler": "the length of its correcting steps depends on the denoiser's output: it is not linear",
    "ScoreSdeVpScheduler": "its timesteps are not those of any scheduler_config.json",
    "UnCLIPScheduler": "its variance is an output of the denoiser: it is not linear",
    "VQDiffusionScheduler": _TOKENS,
}

# Options of diffusers' other schedulers: one configuration may serve several, and diffusers lets them pass. Two are of
# its first versions, where they changed nothing, and stand in checkpoints of that time
_OTHERS = {
    "noise_sampler_seed",
    "rho",
    "sigma_data",
    "sigma_schedule",
    "tensor_format",
    "timestep_values",
}
FOREIGN_OPTIONS = frozenset(_OTHERS.union(*(scheduler.options for scheduler in SCHEDULERS)))

_BY_NAME: dict[str, tuple[Scheduler, Mapping[str, Any]]] = {
    scheduler.class_name: (scheduler, {}) for scheduler in SCHEDULERS
} | {short: (scheduler, options) for scheduler in SCHEDULERS for short, options in scheduler.short_names.items()}


def find(name: str) -> tuple[Scheduler, Mapping[str, Any]]:
    """The scheduler of a class name or short name, and the options that the short name stands for.

    Raises:
        SamplerError: no such scheduler, and which names are near; or one of diffusers that is not supported, and why.
    """
    if name in UNSUPPORTED:
        raise SamplerError(f"{name} is not supported: {UNSUPPORTED[name]}")
    return lookup(_BY_NAME, name, "scheduler", SamplerError)


def of_config(config: Any) -> Scheduler:
    """The scheduler that a configuration names in `_class_name`."""
    if not isinstance(config, Mapping) or "_class_name" not in config:
        raise SamplerError("a scheduler configuration is a dict with a _class_name, as in scheduler_config.json")
    name = config["_class_name"]
    if not isinstance(name, str):
        raise SamplerError(f"unknown scheduler {name!r}; allowed: the name of a class of diffusers")
    return find(name)[0]


def defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Default of every option of the configuration's scheduler."""
    return {name: option.default for name, option in of_config(config).options.items()}


def with_scheduler(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The configuration for another scheduler of the same model, as diffusers' `Other.from_config(config)` has it.

    Values of the configuration are kept; options that it lacks have the other scheduler's defaults.

    Args:
        config: the model's scheduler_config.json.
        name: diffusers' class name or a short name: ddim, euler, dpmpp_2m and so on. A short name also sets the
            options that make it what it is (dpmpp_2m: algorithm_type dpmsolver++, solver_order 2).

    Raises:
        SamplerError: no such scheduler.
    """
    of_config(config)
    scheduler, implied = find(name)
    by_default = {"_use_default_values", *config.get("_use_default_values", [])}
    kept = {key: value for key, value in config.items() if key not in by_default}
    return kept | dict(implied) | {"_class_name": scheduler.class_name}
