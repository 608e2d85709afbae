"""Modules are replaced before export by ones that say the operator; what was said is counted in the written graph.

ONNX Runtime's optimiser looks for fused operators by pattern, and finds nothing, silently, when an exporter changes its
patterns.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from triptych.runtime.errors import ArgumentError, VerificationError

from ..components import Component
from ..hooks import hooked


class FusedModule(nn.Module):
    """A module that says operators; `emits` is how often a call says each: {"com.microsoft::QuickGelu": 1}."""

    emits: Mapping[str, int] = MappingProxyType({})


def once(operator: str) -> Mapping[str, int]:
    """The declaration of a module that says the operator once a call."""
    return MappingProxyType({operator: 1})


Replace = Callable[[Any], nn.Module]


@dataclass(frozen=True)
class Dialect:
    """A way to write graphs.

    Attributes:
        replacements: class of a module -> what makes the module that takes its place from it, or gives it back where
            the operator does not hold.
        fixed: its graphs have fixed shapes.
        optimised: the written graph is optimised once by ONNX Runtime, and loaded as it is from then on.
        precisions: names of those that its operators have kernels for; None is all.
    """

    name: str
    replacements: Mapping[type[nn.Module], Replace] = field(default_factory=dict)
    fixed: bool = False
    optimised: bool = False
    precisions: tuple[str, ...] | None = None

    def check_precision(self, precision: str) -> None:
        """Refuse a precision that the operators have no kernels for.

        Raises:
            ArgumentError: says which there are.
        """
        if self.precisions is not None and precision not in self.precisions:
            raise ArgumentError(
                f"dialect {self.name} has no operators in {precision}; allowed: {', '.join(self.precisions)}, or "
                f"--dialect portable with {precision}"
            )

    def rewrite(self, module: nn.Module) -> nn.Module:
        """What takes the place of `module`; modules inside it, and inside those that took places, are replaced there.

        Raises:
            SourceError: the module has parts that have no counterpart in this dialect.
        """
        replace = self.replacements.get(type(module))
        if replace is not None:
            module = replace(module)
        for name, child in module.named_children():
            setattr(module, name, self.rewrite(child))
        return module


def declared_operators(component: Component, dtype: torch.dtype = torch.float32) -> dict[str, int]:
    """How often one call of the component's module says each operator: "com.microsoft::MultiHeadAttention": 32.

    `dtype` is that of the module.

    Modules may be called several times, so the calls are counted, on tensors without values. A call of the same module
    on the same tensors is one with the first: the exporter writes it once (the SiLU of the time embedding).
    """
    calls: dict[
        tuple[int, ...], tuple[FusedModule, tuple[Any, ...]]
    ] = {}  # holds on to tensors, so that ids stay theirs

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(module, FusedModule)
        calls.setdefault((id(module), *map(id, inputs)), (module, inputs))

    speakers = [module for module in component.module.modules() if isinstance(module, FusedModule)]
    handles = [module.register_forward_pre_hook(note) for module in speakers]
    with hooked(handles), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        component.module(**component.zeros(component.default, dtype))
    said: Counter[str] = Counter()
    for module, _ in calls.values():
        said.update(module.emits)
    return dict(sorted(said.items()))


def check_declared(component: str, said: Mapping[str, int], written: Mapping[str, int]) -> None:
    """Compare what was said with the operators of the written graph.

    Raises:
        VerificationError: an operator is there more or less often than it was said.
    """
    for operator, count in said.items():
        found = written.get(operator, 0)
        if found != count:
            raise VerificationError(
                f"{component}: {operator} was said {count} times, the graph has {found}; nothing was published"
            )
