"""Prediction type and zero terminal SNR: what a single file or the caller states, in a scheduler's configuration."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triptych.runtime.errors import SamplerError, SourceError, TriptychWarning
from triptych.runtime.sampling.registry import of_config

from ..arguments import PREDICTION_TYPES
from .tensors import Tensors

EPSILON, V, SAMPLE = PREDICTION_TYPES

_SPELLINGS = {
    "eps": EPSILON,
    "noise": EPSILON,
    "v": V,
    "velocity": V,
    "vpred": V,
    "v_pred": V,
    "x0": SAMPLE,
    "x_start": SAMPLE,
    **{name: name for name in PREDICTION_TYPES},
}
"""Prediction type as metadata spells it, in lower case, with underscores -> diffusers' name."""

_METADATA = "modelspec.prediction_type"
_V_KEY, _ZERO_SNR_KEY = "v_pred", "ztsnr"
_EDM_KEY = "edm_vpred.sigma_max"
_STAND_IN = "DDIMScheduler"  # takes every prediction type and zero terminal SNR


@dataclass(frozen=True)
class Prediction:
    """A model's prediction type, None where nothing states it, and whether its last timestep is pure noise."""

    type: str | None = None
    zero_terminal_snr: bool = False


def prediction_of(tensors: Tensors, option: str | None) -> Prediction:
    """The prediction of a single file: the caller's option, else what the file states.

    It does so by tensors named `v_pred` and `ztsnr`, or by `modelspec.prediction_type` in its metadata.

    Raises:
        SourceError: its metadata name an unknown prediction type, or the model is one of continuous noise levels.
    """
    if _EDM_KEY in tensors:
        raise SourceError(
            f"{tensors.file.name} holds {_EDM_KEY}: it was trained on continuous noise levels (EDM), which no single "
            "file describes; export its diffusers folder, with an EDMEulerScheduler"
        )
    named = tensors.metadata.get(_METADATA)
    known = None if named is None else _SPELLINGS.get(named.strip().lower().replace("-", "_"))
    if _V_KEY in tensors:
        known = V
    elif named is not None and known is None and option is None:
        raise SourceError(
            f"{tensors.file.name}: {_METADATA}={named!r} is not supported; allowed: {', '.join(PREDICTION_TYPES)} "
            "(--prediction-type states it in its place)"
        )
    return chosen(tensors.file.name, Prediction(known, _ZERO_SNR_KEY in tensors), option)


def chosen(name: str, file: Prediction, option: str | None) -> Prediction:
    """The prediction in use of the checkpoint `name`: the caller's option, else the file's.

    Warns where the two differ.
    """
    if option is None:
        return file
    if file.type not in (None, option):
        warnings.warn(
            f"{name} states that it predicts {file.type}; it is exported as {option}, as --prediction-type has it",
            TriptychWarning,
            stacklevel=2,
        )
    return Prediction(option, file.zero_terminal_snr)


def with_prediction(config: Mapping[str, Any], prediction: Prediction) -> dict[str, Any]:
    """A scheduler's configuration for a model that predicts so.

    With zero terminal SNR, betas are rescaled and a run begins at the last timestep (Lin et al. 2023,
    arXiv:2305.08891); a model that predicts noise cannot have it, as pure noise says nothing about the image. A
    scheduler that takes no such model is replaced by DDIM, the one of the paper.
    """
    changed = dict(config)
    if prediction.type is not None:
        changed["prediction_type"] = prediction.type
        if not _takes(config, "prediction_type", prediction.type):
            changed["_class_name"] = _STAND_IN
    if prediction.zero_terminal_snr and changed.get("prediction_type", EPSILON) != EPSILON:
        changed |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        if not _takes(config, "rescale_betas_zero_snr", True):
            changed["_class_name"] = _STAND_IN
    return changed


def _takes(config: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether the configuration's scheduler has the option, and takes the value; True of one that is unknown."""
    try:
        option = of_config(config).options.get(name)
        return option is not None and option.check(value) == value
    except SamplerError:
        return True
    except ValueError:
        return False
