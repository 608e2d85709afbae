"""Weights alone in 8 or 4 bits, with no run of the checkpoint before; between layers all is float.

Weights of convolutions are made float anew in every call, products may round their inputs to 8 bits (see
`weight_operators.ACCURACY_LEVEL`).
"""

from dataclasses import dataclass

from torch import nn
from transformers.models.clip.modeling_clip import CLIPTextEmbeddings

from .ranges import quantizable
from .weight_layers import NBitsLinear, StoredConv, StoredEmbedding, StoredLinear

LINEAR: dict[str, type[NBitsLinear | StoredLinear]] = {"portable": StoredLinear, "cpu": NBitsLinear}
"""Dialect -> how it says linear layers."""


@dataclass(frozen=True)
class WeightFormat:
    """How weights are stored: integers of `bits`, 8 or 4, in blocks of `size` inputs that share a scale.

    Where blocks do not fit, and for convolutions in 8 bits, it is 8 bits with a scale for each output: see
    `weight_layers.stored`.
    """

    bits: int
    size: int

    def apply(self, module: nn.Module, dialect: str) -> None:
        """Replace the convolutions, linear layers and token embeddings of `module`, in place."""
        for name, layer in quantizable(module).items():
            if isinstance(layer, nn.Conv2d):
                module.set_submodule(name, StoredConv(layer, self.bits, self.size))
            elif isinstance(layer, nn.Linear):
                module.set_submodule(name, LINEAR[dialect](layer, self.bits, self.size))
        for layer in module.modules():
            if isinstance(layer, CLIPTextEmbeddings):
                layer.token_embedding = StoredEmbedding(layer.token_embedding)
