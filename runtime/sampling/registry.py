"""Schedulers by diffusers' class name and by short name, gathered from the modules that make their tables."""

from collections.abc import Mapping
from typing import Any

from ..errors import SamplerError, lookup, shown
from .grids.flow_shift import linear_mu
from .names import ALIASES, PREFIXES, SUFFIXES, fold
from .options import ANYTHING, read
from .scheduler import Scheduler
from .shared_options import Options, TokenShiftOptions
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


def _by_folded_name() -> dict[str, tuple[Scheduler, Mapping[str, Any]]]:
    found = {}
    for name, entry in _BY_NAME.items():
        found[fold(name)] = entry
        found.setdefault(fold(name.removesuffix("Scheduler")), entry)
    for alias, (short, options) in ALIASES.items():
        scheduler, implied = _BY_NAME[short]
        found[alias] = scheduler, {**implied, **options}
    return found


_BY_FOLDED_NAME = _by_folded_name()
_UNSUPPORTED_FOLDED = {fold(name.removesuffix("Scheduler")): name for name in UNSUPPORTED}


def find(name: str) -> tuple[Scheduler, Mapping[str, Any]]:
    """The scheduler of a name, and the options that the name stands for.

    Args:
        name: class name, short name or a name of other tools, see `names`; case, spaces and symbols do not count.

    Raises:
        SamplerError: no such scheduler, and which names are near; or one of diffusers that is not supported, and why;
            or noise levels that the scheduler does not have.
    """
    if not isinstance(name, str) or name in _BY_NAME or name in UNSUPPORTED:
        return _exactly(name)
    folded = fold(name)
    found = _without_prefix(folded)
    if found is not None:
        return found
    unsupported = _UNSUPPORTED_FOLDED.get(folded.removesuffix("scheduler"))
    if unsupported is not None:
        return _exactly(unsupported)
    for suffix, options in SUFFIXES.items():
        found = _without_prefix(folded.removesuffix(suffix)) if folded.endswith(suffix) else None
        if found is not None:
            return _with_suffix(name, *found, options)
    return _exactly(name)


def _exactly(name: str) -> tuple[Scheduler, Mapping[str, Any]]:
    if name in UNSUPPORTED:
        raise SamplerError(f"{name} is not supported: {UNSUPPORTED[name]}")
    return lookup(_BY_NAME, name, "scheduler", SamplerError)


def _without_prefix(folded: str) -> tuple[Scheduler, Mapping[str, Any]] | None:
    for prefix in PREFIXES:
        if folded.startswith(prefix) and folded.removeprefix(prefix) in _BY_FOLDED_NAME:
            return _BY_FOLDED_NAME[folded.removeprefix(prefix)]
    return None


def _with_suffix(
    name: str, scheduler: Scheduler, implied: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Scheduler, Mapping[str, Any]]:
    lacking = [key for key in options if key not in scheduler.options or scheduler.options[key].allowed == ANYTHING]
    if lacking:
        raise SamplerError(f"scheduler {shown(name)}: {scheduler.class_name} has no option {lacking[0]}; leave it out")
    return scheduler, {**implied, **options}


def of_config(config: Any) -> Scheduler:
    """The scheduler that a configuration names in `_class_name`."""
    name = _class_name(config)
    if not isinstance(name, str):
        raise SamplerError(f"unknown scheduler {shown(name)}; allowed: the name of a class of diffusers")
    return _exactly(name)[0]


def _class_name(config: Any) -> Any:
    if not isinstance(config, Mapping) or "_class_name" not in config:
        raise SamplerError("a scheduler configuration is a dict with a _class_name, as in scheduler_config.json")
    return config["_class_name"]


def defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Default of every option of the configuration's scheduler."""
    return {name: option.default for name, option in of_config(config).options.items()}


def recorded_defaults(config: Mapping[str, Any]) -> list[str]:
    """Options that a configuration records as defaults of its class, not as choices: they do not count.

    Raises:
        SamplerError: `_use_default_values` is not a list of names.
    """
    names = config.get("_use_default_values") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SamplerError("_use_default_values of a scheduler configuration is not a list of names")
    return names


def read_options(config: Mapping[str, Any]) -> tuple[Scheduler, Options]:
    """The scheduler of a configuration, and its options.

    Values that the configuration records as defaults of another class do not count, as in diffusers.

    Raises:
        SamplerError: an unknown scheduler; an option or value that it does not take.
    """
    scheduler = of_config(config)
    return scheduler, read(scheduler.options_class, scheduler.class_name, FOREIGN_OPTIONS, _stated(config))


def mu_by_tokens(config: Mapping[str, Any], tokens: int) -> float | None:
    """mu for an image of this many tokens, as diffusers' `calculate_shift` has it; None without use_dynamic_shifting.

    As in diffusers, a scheduler without options for it has the values of the configuration that it took over.

    Raises:
        SamplerError: see `read_options`; or the two numbers of tokens are equal.
    """
    scheduler, options = read_options(config)
    if not options.use_dynamic_shifting:
        return None
    stated = _stated(config)
    return linear_mu(read(TokenShiftOptions, scheduler.class_name, frozenset(stated), stated), tokens)


def _stated(config: Mapping[str, Any]) -> dict[str, Any]:
    by_default = recorded_defaults(config)
    return {key: value for key, value in config.items() if key not in by_default}


def with_scheduler(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The configuration for another scheduler of the same model, as diffusers' `Other.from_config(config)` has it.

    Values of the configuration are kept; options that it lacks have the other scheduler's defaults.

    Args:
        config: the model's scheduler_config.json, of any class.
        name: see `find`. A short name also sets the options that make it what it is (dpmpp_2m: algorithm_type
            dpmsolver++, solver_order 2).

    Raises:
        SamplerError: no such scheduler.
    """
    _class_name(config)
    scheduler, implied = find(name)
    by_default = {"_use_default_values", *recorded_defaults(config)}
    kept = {key: value for key, value in config.items() if key not in by_default}
    return kept | dict(implied) | {"_class_name": scheduler.class_name}
