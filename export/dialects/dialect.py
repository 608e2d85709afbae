"""Replacement of modules before export by ones that emit fused operators, which are counted in the written graph.

ONNX Runtime's optimiser finds fused operators by patterns, and finds none, silently, when an exporter changes its
output.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from triptych.runtime.errors import VerificationError
from triptych.runtime.families.parts import MODEL

from ..components import Component, Sizes
from ..hooks import hooked


class FusedModule(nn.Module):
    """A module that emits operators; `emits` counts them for one call: {"com.microsoft::QuickGelu": 1}."""

    emits: Mapping[str, int] = MappingProxyType({})


def once(operator: str) -> Mapping[str, int]:
    """The declaration of a module that emits the operator once per call."""
    return MappingProxyType({operator: 1})


Replace = Callable[[Any], nn.Module]


@dataclass(frozen=True)
class Dialect:
    """An operator set that graphs are written in.

    Attributes:
        replacements: class of a module -> function from such a module to its replacement, or to the module itself where
            the operator does not apply.
        fixed: graphs have fixed shapes.
        optimised: ONNX Runtime optimises the written graph once, at export, and loads it unchanged afterwards.
    """

    name: str
    replacements: Mapping[type[nn.Module], Replace] = field(default_factory=dict)
    fixed: bool = False
    optimised: bool = False

    def rewrite(self, module: nn.Module) -> nn.Module:
        """Replace a module, and in place the modules inside it and inside its replacement.

        Raises:
            SourceError: the module has parts without a counterpart in this operator set.
        """
        replace = self.replacements.get(type(module))
        if replace is not None:
            module = replace(module)
        for name, child in module.named_children():
            setattr(module, name, self.rewrite(child))
        return module


@runtime_checkable
class Divided(Protocol):
    """A module that is written as several graphs."""

    def parts(self, component: Component, sizes: Sizes) -> dict[str, Component]:
        """The graphs by name, each as a component at these sizes; the last one is the component's own graph."""
        ...


def graphs_of(component: Component, sizes: Sizes | None) -> dict[str, Component]:
    """The graphs that a component is written as, by name: one, except for a `Divided` module."""
    if isinstance(component.module, Divided):
        assert sizes is not None  # operator sets with such modules have fixed shapes
        return component.module.parts(component, sizes)
    return {MODEL: component}


def declared_operators(component: Component, dtype: torch.dtype = torch.float32) -> dict[str, int]:
    """Operator -> number of its occurrences that fused modules emit: "com.microsoft::MultiHeadAttention": 32.

    `dtype` is that of the component's module. A module may be called several times, so calls are counted, on tensors
    without values. A second call of a module on the same tensors does not count: the exporter writes it once (the SiLU
    of the time embedding).
    """
    calls: dict[
        tuple[int, ...], tuple[FusedModule, tuple[Any, ...]]
    ] = {}  # keeps the tensors alive, so that ids stay unique

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(module, FusedModule)
        calls.setdefault((id(module), *map(id, inputs)), (module, inputs))

    fused = [module for module in component.module.modules() if isinstance(module, FusedModule)]
    handles = [module.register_forward_pre_hook(note) for module in fused]
    with hooked(handles), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        component.module(**component.zeros(component.default, dtype))
    declared: Counter[str] = Counter()
    for module, _ in calls.values():
        declared.update(module.emits)
    return dict(sorted(declared.items()))


def check_declared(component: str, declared: Mapping[str, int], written: Mapping[str, int]) -> None:
    """Compare the declared operators with those of the written graph.

    Raises:
        VerificationError: an operator occurs more or less often than declared.
    """
    for operator, count in declared.items():
        found = written.get(operator, 0)
        if found != count:
            raise VerificationError(
                f"{component}: {operator} was declared {count} times, the graph has {found}; nothing was published"
            )
