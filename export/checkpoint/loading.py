"""Modules with the weights of a checkpoint, which are in memory once."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from triptych.runtime.errors import SourceError

from .folder import Part

# Old CLIP checkpoints store the positions 0..76, which the module makes itself.
_MADE_BY_THE_MODULE = ("position_ids",)


def load_module(name: str, part: Part, build: Callable[[], nn.Module]) -> nn.Module:
    """Build a module without weights, then load those of `part`, for inference; `name` is for messages.

    Weights are mapped from the file with the dtypes that they have there, not copied.

    Raises:
        SourceError: weights are missing, broken, unknown to the module, or of other shapes.
    """
    with _parameters_on_meta():
        module = build()
    weights = dict(part.weights(module))
    if hasattr(module, "_fix_state_dict_keys_on_load"):  # attention blocks of VAEs from before 2023
        cast(Any, module)._fix_state_dict_keys_on_load(weights)
    weights = _tied(_renamed_for_transformers(weights, module), module)
    _check_shapes(name, weights, module)
    found = module.load_state_dict(weights, strict=False, assign=True)
    unknown = [key for key in found.unexpected_keys if not key.endswith(_MADE_BY_THE_MODULE)]
    for problem, keys in (("lacks", found.missing_keys), ("has unknown", unknown)):
        if keys:
            raise SourceError(f"{name} {problem} weights, {len(keys)} of them, first {keys[0]}")
    return module.requires_grad_(False).eval()


def _check_shapes(name: str, weights: Mapping[str, torch.Tensor], module: nn.Module) -> None:
    expected = module.state_dict()
    other = [key for key, weight in weights.items() if key in expected and weight.shape != expected[key].shape]
    if other:
        shape, expected_shape = list(weights[other[0]].shape), list(expected[other[0]].shape)
        raise SourceError(
            f"{name} has weights that do not fit its configuration, {len(other)} of them, first {other[0]}: "
            f"it is {shape} and should be {expected_shape}"
        )


def _renamed_for_transformers(weights: dict[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """The weights named as this version of transformers names them.

    CLIP's text model has its parts under `text_model.` in transformers 4 and most files, and without that prefix in
    transformers 5. A projection after it is outside in both. A language model is used without its head.
    """
    prefix, outside, expected = "text_model.", "text_projection.", module.state_dict().keys()
    if "embed_tokens.weight" in expected:  # a language model, in files with its head
        return {name.removeprefix("model."): weight for name, weight in weights.items() if name != "lm_head.weight"}
    if any(name.startswith(prefix) for name in expected):
        return {
            name if name.startswith((prefix, outside)) else prefix + name: weight for name, weight in weights.items()
        }
    return {name.removeprefix(prefix): weight for name, weight in weights.items()}


def _tied(weights: dict[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """The weights with T5's embeddings under both of their names; files may have either."""
    names, expected = ("shared.weight", "encoder.embed_tokens.weight"), module.state_dict().keys()
    stored = [weights[name] for name in names if name in weights]
    return {name: stored[0] for name in names if stored and name in expected} | weights


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Build modules inside the block with parameters on the meta device, without memory, and real buffers."""
    register = nn.Module.register_parameter

    def register_on_meta(self: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        register(self, name, parameter)

    nn.Module.register_parameter = register_on_meta  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
        gc.collect()
