"""The scheduler of a checkpoint, tried in the runtime before anything is exported."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.runtime.errors import SamplerError, SourceError, TriptychWarning
from triptych.runtime.families.family import Family
from triptych.runtime.families.latents import ANY_TOKENS
from triptych.runtime.sampling import Sampler, with_scheduler
from triptych.runtime.sampling.registry import find

from ..sources import read_json

FILE = Path("scheduler", "scheduler_config.json")

_STAND_IN = "EulerDiscreteScheduler"
_NOISE_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "timestep_spacing",
    "steps_offset",
)
"""Options that belong to the model rather than to a scheduler."""


def read_scheduler(folder: Path, model_index: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The scheduler's configuration in a folder of the checkpoint `name`.

    Its class is the one in model_index.json, as in diffusers, where the two differ.

    Raises:
        SourceError: it is missing or cannot be read.
    """
    if not (folder / FILE).exists():
        raise SourceError(f"{name} is not whole: it has no {FILE}")
    config = read_json(folder / FILE)
    entry = model_index.get("scheduler")
    stated = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    if isinstance(stated, str) and stated != config.get("_class_name"):
        try:
            return with_scheduler({"_class_name": stated, **config}, stated)
        except SamplerError:  # a class that the runtime does not have: see `runnable`
            return {**config, "_class_name": stated}
    return config


def runnable(config: Mapping[str, Any], family: Family, name: str) -> dict[str, Any]:
    """The configuration, which the runtime has been tried with: a package never has one that every call refuses.

    A class that the runtime lacks is replaced, with a warning, if the configuration states the model's noise schedule.

    Args:
        config: the scheduler's configuration.
        family: of the checkpoint.
        name: of the checkpoint, for messages.

    Raises:
        SourceError: the runtime cannot run it.
    """
    chosen = dict(config)
    try:
        find(str(config.get("_class_name")))
    except SamplerError as error:
        if not {"beta_start", "beta_end"} <= config.keys() and config.get("trained_betas") is None:
            raise SourceError(f"{name}: {FILE}: {error}") from None
        chosen = {key: config[key] for key in _NOISE_SCHEDULE if key in config} | {"_class_name": _STAND_IN}
        warnings.warn(
            f"{name}: {FILE}: {error}; the package has {_STAND_IN} in its place, with the same noise schedule",
            TriptychWarning,
            stacklevel=2,
        )
    try:
        own = family.scheduler_config(chosen, None)
        Sampler.from_config(
            own,
            family.num_inference_steps,
            strength_in_schedule=family.strength_in_schedule,
            mu=family.latents.mu_for(own, ANY_TOKENS),
        )
    except SamplerError as error:
        raise SourceError(f"{name}: {FILE}: {error}; change it there") from None
    return chosen
