"""Which layers of a component are quantised, and their replacement."""

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
"""Dialect -> how it says convolutions and linear layers."""


PROBED = 4
"""Samples, of all, on which layers are measured for what they do to the answer: each takes a pass back."""


def quantizable_dialect(dialect: Dialect) -> Dialect:
    """The operator set for quantized layers, in which upsampling keeps its one convolution.

    Four smaller ones in its place would save some of the integer work at fixed shapes, and cost three
    more roundings of each input; a graph of open shapes has them at some sizes only, so that nothing could be counted.
    """
    kept = {kind: replace for kind, replace in dialect.replacements.items() if kind is not Upsample2D}
    return dataclasses.replace(dialect, replacements=kept)


@dataclass(frozen=True)
class Plan:
    """The ranges of a component's layers, the names of those that stay in float, and inputs that it had in use."""

    ranges: dict[str, Ranges]
    kept: frozenset[str]
    samples: Sequence[Inputs] = ()


def plan(module: nn.Module, ranges: dict[str, Ranges], samples: Sequence[Inputs], dialect: str) -> Plan:
    """Find out on sample inputs where to cut ranges off, and which layers to keep in float.

    Args:
        module: float tensors -> a tuple, the first of which is its answer.
        ranges: of the layers that ran in the calibration.
        samples: inputs of the module.
        dialect: as which the layers are to be said.
    """
    clipped = clip(module, ranges, samples)
    layers = {name: layer for name, layer in quantizable(module).items() if name in ranges}
    rounded = {name: quantized(layer, clipped[name], dialect) for name, layer in layers.items()}
    probed = samples[:: -(-len(samples) // PROBED)]
    return Plan(clipped, float_layers(measure(module, layers, rounded, probed)), samples)


def quantize(module: nn.Module, plan: Plan, dialect: str) -> None:
    """Replace the layers of `module`, in place, that the plan does not keep in float."""
    for name in sorted(plan.ranges.keys() - plan.kept):
        new = quantized(module.get_submodule(name), plan.ranges[name], dialect)
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, new)


def quantized(layer: nn.Module, ranges: Ranges, dialect: str) -> nn.Module:
    """A convolution or linear layer in eight bits."""
    conv, linear = LAYERS[dialect]
    if isinstance(layer, nn.Conv2d):
        return conv(layer, ranges)
    assert isinstance(layer, nn.Linear)
    return linear(layer, ranges)
