"""U-Nets, the denoisers of Stable Diffusion, and their conditioning."""

from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor

from triptych.runtime.errors import SourceError
from triptych.runtime.families.conditioning import GUIDANCE, POOLED, SIZES, TEXT, MicroConditioning

from ..checkpoint import Checkpoint
from .component import Array, Component, Input, gaussian
from .modules import UNet
from .sizes import own_latents, prompt_length

_TEXT_AND_SIZES = "text_time"


def _timestep(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(generator.uniform(0, 1000, shape), np.float32)  # Karras' levels are between the trained ones


def _pixels(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.integers(0, 4097, shape).astype(np.float32)  # photographs were larger than what they were cut to


def unet(checkpoint: Checkpoint) -> Component:
    """The U-Net of the checkpoint."""
    from diffusers import UNet2DConditionModel

    file = checkpoint.config("unet")
    net: Any = checkpoint.load("unet", lambda: UNet2DConditionModel.from_config(file))
    if file.get("upcast_attention"):  # the default processor ignores it
        net.set_attn_processor(AttnProcessor())
    config, longest = net.config, prompt_length(checkpoint)
    height, width = own_latents(checkpoint)

    def reference(
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
        **added: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        conditioning = {"timestep_cond": timestep_cond, "added_cond_kwargs": added}
        output: tuple[torch.Tensor, ...] = net(
            sample, timestep, encoder_hidden_states, **conditioning, return_dict=False
        )
        return output

    return Component(
        name="unet",
        config=file,
        module=UNet(net),
        reference=reference,
        original=net,
        inputs={
            "sample": Input(("batch_size", config["in_channels"], "height", "width"), gaussian()),
            "timestep": Input((), _timestep, torch.float32),
            TEXT: Input(("batch_size", "sequence_length", config["cross_attention_dim"]), gaussian()),
            **_conditioning_inputs(config, checkpoint),
        },
        outputs={"out_sample": ("batch_size", config["out_channels"], "height", "width")},
        default={"batch_size": 1, "height": height, "width": width, "sequence_length": longest},
        cases=(
            {"batch_size": 1, "height": 16, "width": 16, "sequence_length": longest},
            {"batch_size": 2, "height": 16, "width": 24, "sequence_length": longest},
            {"batch_size": 1, "height": 21, "width": 10, "sequence_length": 2 * longest},  # no multiples of 8
        ),
    )


def _conditioning_inputs(config: Any, checkpoint: Checkpoint) -> dict[str, Input]:
    """Inputs of the U-Net's conditioning other than the text."""
    inputs: dict[str, Input] = {}
    if config["addition_embed_type"] == _TEXT_AND_SIZES:
        pooled, sizes = _added_widths(config, checkpoint)
        inputs[POOLED] = Input(("batch_size", pooled), gaussian())
        inputs[SIZES] = Input(("batch_size", sizes), _pixels, torch.float32)
    if config["time_cond_proj_dim"] is not None:
        inputs[GUIDANCE] = Input(("batch_size", config["time_cond_proj_dim"]), gaussian())
    return inputs


def _added_widths(config: Any, checkpoint: Checkpoint) -> tuple[int, int]:
    """Widths of the pooled text embeddings and of the micro-conditioning."""
    family, width = checkpoint.family, config["addition_time_embed_dim"]
    pooled = sum(checkpoint.config(encoder.name)["projection_dim"] for encoder in family.encoders if encoder.pooled)
    added = config["projection_class_embeddings_input_dim"]
    sizes = MicroConditioning.width(family.micro_conditioning)
    if added != pooled + sizes * width:
        raise SourceError(
            f"{checkpoint.name}: the U-Net has {(added - pooled) / width:g} values of micro-conditioning, a "
            f"{family.name} has {sizes}; a refiner has requires_aesthetics_score in its model_index.json"
        )
    return pooled, sizes
