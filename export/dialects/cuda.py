"""The cuda operator set: operators of ONNX Runtime's CUDA provider; convolutions are channels last from end to end."""

from diffusers.models.attention_processor import Attention
from diffusers.models.normalization import RMSNorm
from torch import nn

from ..components.modules import Decoder, Encoder, TextEncoder, UNet
from .cuda_layers import Choices
from .cuda_text import ClipText
from .cuda_unet import ChannelsLastUNet
from .cuda_vae import ChannelsLastDecoder, ChannelsLastEncoder
from .dialect import Dialect
from .joint_attention import fuse_joint_attention, fuse_rms_norm
from .language import LANGUAGE_MODELS


def cuda_dialect(choices: Choices) -> Dialect:
    """The operator set with these choices. Its modules compute nothing, except those of transformers."""

    def ready(module: nn.Module) -> nn.Module:
        return module.eval()

    return Dialect(
        "cuda",
        {
            UNet: lambda module: ready(ChannelsLastUNet(module.net, choices)),
            Decoder: lambda module: ready(ChannelsLastDecoder(module.quant, module.decoder, choices)),
            Encoder: lambda module: ready(ChannelsLastEncoder(module.encoder, module.quant, choices)),
            Attention: fuse_joint_attention,
            RMSNorm: fuse_rms_norm,
            **LANGUAGE_MODELS,
            TextEncoder: lambda module: ready(ClipText(module.clip, choices, hidden_states=module.hidden_states)),
        },
        fixed=True,
    )


CUDA_DIALECT = cuda_dialect(Choices())
"""The operator set with the choices that were measured as faster."""
