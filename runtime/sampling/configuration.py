"""The configuration of a package's scheduler: what is read of it, what replaces it, and what fits the model."""

import warnings
from collections.abc import Mapping
from typing import Any

from ..errors import SamplerError, TriptychWarning, nearest, shown
from .registry import FOREIGN_OPTIONS, SCHEDULERS, of_config, recorded_defaults
from .scheduler import DIFFUSION, EDM, FLOW

_KINDS_BY_CLASS = {"FlowMatch": FLOW, "EDM": EDM, "CosineDPM": EDM}  # of classes that are not supported


def with_options(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with other values of some options, which count even where they were recorded as defaults.

    Raises:
        SamplerError: an option that the configuration's scheduler does not have.
    """
    scheduler = of_config(config)
    for key in options:
        if key not in scheduler.options:
            raise SamplerError(f"{scheduler.class_name} has no option {shown(key)}; {nearest(key, scheduler.options)}")
    by_default = [name for name in recorded_defaults(config) if name not in options]
    return {**config, **options, "_use_default_values": by_default}


def understood(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a package as diffusers reads it: options that no scheduler has are dropped, with a warning.

    `predict_epsilon`, of 2022, is the prediction type epsilon, or sample where it is false.

    Raises:
        SamplerError: a value of predict_epsilon that is neither true nor false.
    """
    read = dict(config)
    if "predict_epsilon" in read:
        epsilon = read.pop("predict_epsilon")
        if not isinstance(epsilon, bool):
            raise SamplerError(f"predict_epsilon={shown(epsilon)} is not supported; allowed: true, false")
        read.setdefault("prediction_type", "epsilon" if epsilon else "sample")
    scheduler = of_config(config)
    unknown = [
        key for key in read if not key.startswith("_") and key not in scheduler.options and key not in FOREIGN_OPTIONS
    ]
    for key in unknown:
        del read[key]
        text = f"the package's scheduler_config.json: {scheduler.class_name} has no option {key!r}, as in diffusers"
        warnings.warn(f"{text}; it is left out", TriptychWarning, stacklevel=2)
    return read


def check_fits(config: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse a scheduler for another kind of models.

    Args:
        config: to use.
        own: the model's, of any class.

    Raises:
        SamplerError: names the schedulers that fit.
    """
    kind, own_kind = kind_of(config), kind_of(own)
    if kind != own_kind:
        names = [name for each in SCHEDULERS if each.models == own_kind for name in each.short_names]
        raise SamplerError(
            f"{config['_class_name']} is for models of {kind}, and this one is of {own_kind}; allowed: "
            f"{', '.join(names)}"
        )


def kind_of(config: Mapping[str, Any]) -> str:
    """Kind of the models that a configuration is for, of `scheduler.MODELS`."""
    class_name = str(config.get("_class_name"))
    by_class = {scheduler.class_name: scheduler.models for scheduler in SCHEDULERS}
    for beginning, kind in _KINDS_BY_CLASS.items():
        if class_name.startswith(beginning):
            by_class.setdefault(class_name, kind)
    kind = by_class.get(class_name, DIFFUSION)
    flows = config.get("use_flow_sigmas") is True or config.get("prediction_type") == "flow_prediction"
    return FLOW if kind == DIFFUSION and flows else kind
