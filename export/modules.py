"""What is exported: thin modules around the checkpoint's own, from tensors to a tuple of tensors."""

from typing import Any

import torch
from torch import nn


class TextEncoder(nn.Module):
    """CLIP: input_ids int64 [n, tokens] -> last_hidden_state [n, tokens, width], pooler_output [n, width]."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        answer = self.clip(input_ids=input_ids)
        return answer.last_hidden_state, answer.pooler_output


class UNet(nn.Module):
    """sample [n, C, h, w], timestep [], encoder_hidden_states [n, tokens, width] -> out_sample [n, C, h, w].

    This is `UNet2DConditionModel.forward` for plain text conditioning, less its branch on the size of the
    picture: diffusers hands the size of the skip connection to the upsampling only where height or width is not a
    multiple of 2 ** levels. Handing it always is the same function, and one graph for all sizes.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """See the class."""
        net, context = self.net, {"encoder_hidden_states": encoder_hidden_states}
        time = net.time_embedding(net.get_time_embed(sample=sample, timestep=timestep))
        hidden = net.conv_in(sample)
        skips = (hidden,)
        for block in net.down_blocks:
            hidden, residuals = block(hidden, time, **(context if _attends(block) else {}))
            skips += residuals
        if net.mid_block is not None:
            hidden = net.mid_block(hidden, time, **(context if _attends(net.mid_block) else {}))
        for block in net.up_blocks:
            skips, residuals = skips[: -len(block.resnets)], skips[-len(block.resnets) :]
            size = skips[-1].shape[2:] if skips else None
            hidden = block(hidden, residuals, time, upsample_size=size, **(context if _attends(block) else {}))
        return (net.conv_out(net.conv_act(net.conv_norm_out(hidden))),)


def _attends(block: nn.Module) -> bool:
    return bool(getattr(block, "has_cross_attention", False))


class Decoder(nn.Module):
    """latent_sample [n, C, h, w], divided by the scaling factor -> sample [n, 3, H, W] in about [-1, 1].

    Of an `AutoencoderKL` or an `AutoencoderTiny`, which has no convolution in front.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.quant, self.decoder = getattr(vae, "post_quant_conv", None), vae.decoder

    def forward(self, latent_sample: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        return (self.decoder(latent_sample if self.quant is None else self.quant(latent_sample)),)


class Encoder(nn.Module):
    """sample [n, 3, H, W] in [-1, 1] -> latent_parameters [n, 2 C, h, w]: means, then log variances.

    Of an `AutoencoderTiny`: -> latent_sample [n, C, h, w].
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.quant, self.encoder = getattr(vae, "quant_conv", None), vae.encoder

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        moments = self.encoder(sample)
        return (moments if self.quant is None else self.quant(moments),)
