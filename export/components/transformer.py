"""Transformers, the denoisers of flow matching, and their conditioning."""

from typing import Any

import numpy as np
import torch

from triptych.runtime.families.conditioning import TEXT, TIMESTEP

from ..checkpoint import Checkpoint
from .component import Array, Component, Input, gaussian
from .modules import SD3Transformer
from .sizes import own_latents, prompt_length


def _timestep(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(generator.uniform(0, 1000, shape), np.float32)


def sd3_transformer(checkpoint: Checkpoint) -> Component:
    """The transformer of Stable Diffusion 3: text and image are tokens of one attention."""
    from diffusers import SD3Transformer2DModel

    name = checkpoint.family.denoiser
    file = checkpoint.config(name)
    net: Any = checkpoint.load(name, lambda: SD3Transformer2DModel.from_config(file))
    config, chunk = net.config, prompt_length(checkpoint)
    longest = chunk + checkpoint.family.appended_tokens
    height, width = own_latents(checkpoint)
    wide, narrow = (min(side, config["pos_embed_max_size"]) * config["patch_size"] for side in (11, 5))
    side = min(8, config["pos_embed_max_size"]) * config["patch_size"]
    return Component(
        name=name,
        config=file,
        module=SD3Transformer(net),
        reference=lambda **inputs: net(**inputs, return_dict=False),
        original=net,
        inputs={
            "hidden_states": Input(("batch_size", config["in_channels"], "height", "width"), gaussian()),
            TEXT: Input(("batch_size", "sequence_length", config["joint_attention_dim"]), gaussian()),
            "pooled_projections": Input(("batch_size", config["pooled_projection_dim"]), gaussian()),
            TIMESTEP: Input(("batch_size",), _timestep, torch.float32),
        },
        outputs={"out_hidden_states": ("batch_size", config["out_channels"], "height", "width")},
        default={"batch_size": 1, "height": height, "width": width, "sequence_length": longest},
        cases=(
            {"batch_size": 1, "height": side, "width": side, "sequence_length": longest},
            {"batch_size": 2, "height": side, "width": wide, "sequence_length": longest},
            {"batch_size": 1, "height": wide, "width": narrow, "sequence_length": longest + chunk},
        ),
    )
