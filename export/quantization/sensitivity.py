"""Sensitivity of a network's output to the rounding of each layer, and the layers to keep in float."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from ..hooks import observed

PROBES = 4
"""Random directions for each input; the relative error of a layer's noise is sqrt(2 / (PROBES * inputs))."""

FLOAT_SHARE = 0.02
"""Share of a network's multiply-accumulates that stays in float: at most 5% of the time."""

Inputs = tuple[torch.Tensor, ...]


@dataclass
class Sensitivity:
    """Sensitivity to one layer: `noise` is the power that its rounding alone adds to the network's output.

    `noise` and `macs`, the layer's multiply-accumulates, are summed over the inputs.
    """

    noise: float = 0.0
    macs: int = 0


def measure(
    network: nn.Module,
    layers: Mapping[str, nn.Module],
    rounded: Mapping[str, nn.Module],
    inputs: Iterable[Inputs],
    seed: int = 0,
) -> dict[str, Sensitivity]:
    """Measure all layers at once, by one forward pass per input and one backward pass per probe.

    A layer's rounding error e reaches the output as J e, where J is the Jacobian of the part after the layer. For a
    Gaussian v of the output's shape, E[(v . J e)^2] = |J e|^2, and backpropagating v gives v J at every layer
    (Hutchinson 1990). Trying the layers one by one would take a forward pass for each.

    Args:
        network: float tensors -> a tuple, the first of which is the output.
        layers: name -> module of the network to measure.
        rounded: name -> that module in int8.
        inputs: of the network.
        seed: of the probes.
    """
    found = {name: Sensitivity() for name in layers}
    errors: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(seed)

    def compare(name: str, layer: Any, layer_input: torch.Tensor, layer_output: torch.Tensor) -> None:
        with torch.no_grad():
            errors[name] = rounded[name](layer_input) - layer_output
        found[name].macs += layer_output.numel() * layer.weight[0].numel()
        # Tensor.register_hook has no types
        cast(Any, layer_output).register_hook(lambda gradient: _add(found[name], (gradient * errors[name]).sum()))

    with observed(layers, compare):
        for sample in inputs:
            roots = [tensor.detach().requires_grad_() for tensor in sample]
            with torch.enable_grad():
                output = network(*roots)[0]
            for probe in range(PROBES):
                direction = torch.randn(output.shape, generator=generator)
                torch.autograd.grad(output, roots, direction, retain_graph=probe + 1 < PROBES, allow_unused=True)
            errors.clear()
    return found


def float_layers(found: Mapping[str, Sensitivity], share: float = FLOAT_SHARE) -> frozenset[str]:
    """Names of the layers to keep in float: the noisiest per multiply-accumulate, up to a share of all of these."""
    budget = share * sum(each.macs for each in found.values())
    kept: set[str] = set()
    for name, each in sorted(found.items(), key=lambda item: item[1].noise / item[1].macs, reverse=True):
        budget -= each.macs
        if budget < 0:
            break
        kept.add(name)
    return frozenset(kept)


def _add(sensitivity: Sensitivity, projection: torch.Tensor) -> None:
    sensitivity.noise += float(projection) ** 2 / PROBES
