"""Modules for export: thin wrappers of the checkpoint's own, from tensors to a tuple of tensors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from ..hooks import hooked


class TextEncoder(nn.Module):
    """CLIP: input_ids int64 [n, tokens] -> last_hidden_state [n, tokens, width], pooler_output [n, width].

    CLIP with a projection gives text_embeds [n, projected width], last_hidden_state. With `hidden_states`, the states
    before each layer and after the last one follow, [n, tokens, width] each, without the final normalization.
    """

    def __init__(self, clip: nn.Module, *, hidden_states: bool = False) -> None:
        super().__init__()
        self.clip, self.hidden_states = clip, hidden_states

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        with _states_of(self._layers() if self.hidden_states else []) as states:
            output = self.clip(input_ids=input_ids)
        if "text_embeds" in output:
            return output.text_embeds, output.last_hidden_state, *states
        return output.last_hidden_state, output.pooler_output, *states

    def _layers(self) -> list[nn.Module]:
        lists = (getattr(part, "layers", None) for part in self.clip.modules())
        return list(next(layers for layers in lists if isinstance(layers, nn.ModuleList)))


class LdmBert(nn.Module):
    """The text encoder of the first latent diffusion model: input_ids int64 [n, tokens] -> [n, tokens, width].

    This is `LDMBertModel.forward` without the clamping of infinities in float16, which branches on values.
    """

    def __init__(self, bert: Any) -> None:
        super().__init__()
        encoder = bert.model
        self.words, self.positions = encoder.embed_tokens, encoder.embed_positions
        self.layers, self.norm = encoder.layers, encoder.layer_norm

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        x = self.words(input_ids) + self.positions(torch.arange(input_ids.shape[1]))
        for layer in self.layers:
            x = x + layer.self_attn(layer.self_attn_layer_norm(x))[0]
            x = x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
        return (self.norm(x),)


@contextmanager
def _states_of(layers: Sequence[nn.Module]) -> Iterator[list[torch.Tensor]]:
    """The input of each layer that runs inside the block, and the output of the last one.

    transformers has an option for it, which works for its own classes of layers only, and not for replacements.
    """
    states: list[torch.Tensor] = []

    def before(_: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        states.append(positional[0] if positional else named["hidden_states"])

    def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(after) for layer in layers[-1:]]
    with hooked(hooks):
        yield states


class UNet(nn.Module):
    """sample [n, C, h, w], timestep [], encoder_hidden_states [n, tokens, width] -> out_sample [n, C, h, w].

    SDXL also takes text_embeds [n, width] and time_ids [n, 6], a latent consistency model timestep_cond [n, width].

    This is `UNet2DConditionModel.forward` for these inputs without its branch on the image size: diffusers passes the
    size of the skip connection to the upsampling only where height or width is not a multiple of 2 ** levels. Passing
    it always is the same function, and one graph for all sizes.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net, self.time = net, TimeEmbedding(net)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        time_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """See the class."""
        net, context = self.net, {"encoder_hidden_states": encoder_hidden_states}
        rows = timestep.reshape(1).expand(sample.shape[0])
        time = self.time(rows, sample.dtype, timestep_cond, text_embeds, time_ids)
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


class TimeEmbedding(nn.Module):
    """Embedding of time, micro-conditioning and guidance for the blocks of a U-Net: timestep [m] -> [n, width].

    m is the number of rows n, or 1; then the result has one row, too, unless another input has more. A timestep [m, 1]
    is for every row: -> [m, n or 1, width]. Timesteps and time_ids are in float32 up to their sines and cosines, and
    `dtype` is that of the network.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.steps, self.embed = net.time_proj, net.time_embedding
        self.sizes, self.add = getattr(net, "add_time_proj", None), getattr(net, "add_embedding", None)

    def forward(
        self,
        timestep: torch.Tensor,
        dtype: torch.dtype,
        timestep_cond: torch.Tensor | None,
        text_embeds: torch.Tensor | None,
        time_ids: torch.Tensor | None,
    ) -> torch.Tensor:
        """See the class."""
        steps = self.steps(timestep) if timestep.dim() == 1 else self.steps(timestep[:, 0])[:, None]
        time: torch.Tensor = self.embed(steps.to(dtype), timestep_cond)
        if text_embeds is None or time_ids is None or self.sizes is None or self.add is None:
            return time
        micro = self.sizes(time_ids.reshape(-1)).reshape(text_embeds.shape[0], -1)  # micro-conditioning
        added: torch.Tensor = self.add(torch.cat([text_embeds, micro.to(dtype)], dim=-1))
        return time + added


def _attends(block: nn.Module) -> bool:
    return bool(getattr(block, "has_cross_attention", False))


class SD3Transformer(nn.Module):
    """hidden_states [n, C, h, w], encoder_hidden_states [n, tokens, width], timestep [n] -> a velocity [n, C, h, w].

    pooled_projections [n, width] are the pooled embeddings of the text.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        pooled_projections: torch.Tensor,
        timestep: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """See the class."""
        output: tuple[torch.Tensor, ...] = self.net(
            hidden_states, encoder_hidden_states, pooled_projections, timestep, return_dict=False
        )
        return output


class Decoder(nn.Module):
    """latent_sample [n, C, h, w], divided by the scaling factor -> sample [n, 3, H, W] in about [-1, 1].

    `vae` is an `AutoencoderKL`, or an `AutoencoderTiny`, which has no convolution before the decoder.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.quant, self.decoder = getattr(vae, "post_quant_conv", None), vae.decoder

    def forward(self, latent_sample: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        return (self.decoder(latent_sample if self.quant is None else self.quant(latent_sample)),)


class QuantizingDecoder(nn.Module):
    """`Decoder` of a `VQModel`: each latent is replaced by the nearest code before it is decoded.

    The term |z|^2 of the squared distance |z - e|^2 is left out, as all codes share it.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.codes, self.decoder = vae.quantize.embedding.weight, Decoder(vae)

    def forward(self, latent_sample: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        latents = latent_sample.permute(0, 2, 3, 1)
        nearest = ((self.codes**2).sum(1) - 2 * latents @ self.codes.T).argmin(-1)
        quantized = nn.functional.embedding(nearest, self.codes).permute(0, 3, 1, 2)
        return cast("tuple[torch.Tensor, ...]", self.decoder(quantized))


class Encoder(nn.Module):
    """sample [n, 3, H, W] in [-1, 1] -> latent_parameters [n, 2 C, h, w]: means, then log variances.

    An `AutoencoderTiny` or a `VQModel` has no distribution: -> latent_sample [n, C, h, w].
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.quant, self.encoder = getattr(vae, "quant_conv", None), vae.encoder

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        moments = self.encoder(sample)
        return (moments if self.quant is None else self.quant(moments),)
