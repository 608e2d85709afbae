"""Plan of a component's quantization, and the replacement of its layers."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from diffusers.models.upsampling import Upsample2D
from torch import nn

from ..dialects import Dialect
from .clipping import clip
from .layers import DynamicQuantizeMatMul, QDQConv, QDQLinear, QLinearConv
from .ranges import Ranges, quantizable
from .sensitivity import Inputs, float_layers, measure

LAYERS: dict[str, tuple[type[QLinearConv | QDQConv], type[DynamicQuantizeMatMul | QDQLinear]]] = {
    "portable": (QDQConv, QDQLinear),
    "cpu": (QLinearConv, DynamicQuantizeMatMul),
}
"""Operator set -> classes of its quantized convolutions and linear layers."""

PROBED = 4
"""Number of samples on which the sensitivity of layers is measured: each takes backward passes."""


def quantizable_dialect(dialect: Dialect) -> Dialect:
    """The operator set for quantized layers, in which upsampling keeps its one convolution.

    Four smaller ones would save some of the integer work at fixed shapes, and cost three more roundings of each input.
    A graph of open shapes has them at some sizes only, so that operators could not be counted.
    """
    kept = {kind: replace for kind, replace in dialect.replacements.items() if kind is not Upsample2D}
    return dataclasses.replace(dialect, replacements=kept)


@dataclass(frozen=True)
class Plan:
    """Ranges of a component's layers, names of the layers to keep in float, and sample inputs."""

    ranges: dict[str, Ranges]
    kept: frozenset[str]
    samples: Sequence[Inputs] = ()


def plan(module: nn.Module, ranges: dict[str, Ranges], samples: Sequence[Inputs], dialect: str) -> Plan:
    """Clip ranges and choose the layers to keep in float, by sample inputs.

    Args:
        module: float tensors -> a tuple, the first of which is its output.
        ranges: of the layers that ran in the calibration.
        samples: inputs of the module.
        dialect: name of the operator set.
    """
    clipped = clip(module, ranges, samples)
    layers = {name: layer for name, layer in quantizable(module).items() if name in ranges}
    rounded = {name: quantized(layer, clipped[name], dialect) for name, layer in layers.items()}
    probed = samples[:: -(-len(samples) // PROBED)]
    return Plan(clipped, float_layers(measure(module, layers, rounded, probed)), samples)


def quantize(module: nn.Module, plan: Plan, dialect: str) -> None:
    """Replace in place the layers of `module` that the plan does not keep in float."""
    for name in sorted(plan.ranges.keys() - plan.kept):
        new = quantized(module.get_submodule(name), plan.ranges[name], dialect)
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, new)


def quantized(layer: nn.Module, ranges: Ranges, dialect: str) -> nn.Module:
    """A convolution or linear layer in int8."""
    conv, linear = LAYERS[dialect]
    if isinstance(layer, nn.Conv2d):
        return conv(layer, ranges)
    assert isinstance(layer, nn.Linear)
    return linear(layer, ranges)
