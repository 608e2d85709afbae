"""Quantization of weights alone to 8 or 4 bits, without calibration; activations are float.

Weights of convolutions are dequantized in every call, and products may round their inputs to 8 bits (see
`weight_operators.ACCURACY_LEVEL`).
"""

from torch import nn
from transformers.models.clip.modeling_clip import CLIPTextEmbeddings

from ..components.language import CausalEncoder, T5Encoder
from ..precision import WeightFormat
from .ranges import quantizable
from .weight_layers import NBitsLinear, StoredConv, StoredEmbedding, StoredLinear

LINEAR: dict[str, type[NBitsLinear | StoredLinear]] = {"portable": StoredLinear, "cpu": NBitsLinear}
"""Operator set -> class of its linear layers."""


def quantize_weights(module: nn.Module, weights: WeightFormat, dialect: str) -> None:
    """Replace the convolutions, linear layers and token embeddings of `module`, in place."""
    for name, layer in quantizable(module).items():
        if isinstance(layer, nn.Conv2d):
            module.set_submodule(name, StoredConv(layer, weights.bits, weights.size))
        elif isinstance(layer, nn.Linear):
            module.set_submodule(name, LINEAR[dialect](layer, weights.bits, weights.size))
    for layer in module.modules():
        if isinstance(layer, CLIPTextEmbeddings):
            layer.token_embedding = StoredEmbedding(layer.token_embedding)
        elif isinstance(layer, T5Encoder | CausalEncoder):
            layer.embed = StoredEmbedding(layer.embed)
