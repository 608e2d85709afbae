"""The cuda operator set: operators of ONNX Runtime's CUDA provider, channels last from end to end."""

from torch import nn

from ..components.modules import Decoder, Encoder, TextEncoder, UNet
from .cuda_layers import Choices
from .cuda_text import ClipText
from .cuda_unet import ChannelsLastUNet
from .cuda_vae import ChannelsLastDecoder, ChannelsLastEncoder
from .dialect import Dialect
from .language import LANGUAGE_MODELS


def cuda_dialect(choices: Choices) -> Dialect:
    """The operator set with these choices. Its modules compute nothing, except those of language models."""

    def ready(module: nn.Module) -> nn.Module:
        return module.eval()

    return Dialect(
        "cuda",
        {
            UNet: lambda module: ready(ChannelsLastUNet(module.net, choices)),
            Decoder: lambda module: ready(ChannelsLastDecoder(module.quant, module.decoder, choices)),
            Encoder: lambda module: ready(ChannelsLastEncoder(module.encoder, module.quant, choices)),
            **LANGUAGE_MODELS,
            TextEncoder: lambda module: ready(ClipText(module.clip, choices, hidden_states=module.hidden_states)),
        },
        fixed=True,
    )


CUDA_DIALECT = cuda_dialect(Choices())
"""The operator set with the choices that were measured as faster."""
