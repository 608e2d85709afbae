"""Computation in float32 with weights kept as stored: half of the memory for a checkpoint in float16."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..hooks import hooked


@contextmanager
def widened(module: nn.Module) -> Iterator[None]:
    """Compute in float32 inside the block; each submodule's weights are float32 only while that submodule runs.

    Submodules must use only their own weights, and may not depend on a weight's dtype.
    """
    narrow: dict[nn.Module, dict[str, nn.Parameter | None]] = {}

    def widen(part: nn.Module, _: object) -> None:
        narrow[part] = dict(part._parameters)
        for name, weight in narrow[part].items():
            if weight is not None:
                part._parameters[name] = nn.Parameter(weight.float(), requires_grad=False)

    def restore(part: nn.Module, *_: object) -> None:
        part._parameters.update(narrow.pop(part))

    parts = [part for part in module.modules() if any(_is_narrow(weight) for weight in part._parameters.values())]
    hooks = [part.register_forward_pre_hook(widen) for part in parts]
    hooks += [part.register_forward_hook(restore, always_call=True) for part in parts]
    with hooked(hooks):
        yield


def _is_narrow(weight: nn.Parameter | None) -> bool:
    return weight is not None and weight.is_floating_point() and weight.dtype != torch.float32
