"""Forward hooks of PyTorch modules for as long as a block runs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Keep hooks that are registered until the block ends."""
    kept = list(handles)
    try:
        yield
    finally:
        for handle in kept:
            handle.remove()


@contextmanager
def observed(
    layers: Mapping[str, nn.Module], observe: Callable[[str, nn.Module, torch.Tensor, torch.Tensor], None]
) -> Iterator[None]:
    """Call `observe` with the name, module, first input and output of each layer that runs inside the block."""

    def hook(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        return lambda layer, inputs, output: observe(name, layer, inputs[0], output)

    with hooked(layer.register_forward_hook(hook(name)) for name, layer in layers.items()):
        yield
