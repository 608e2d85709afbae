"""The components of a family: each a small module with named inputs and outputs, in the dialect that optimum writes."""

from collections.abc import Callable
from functools import partial

from triptych.runtime.families.family import LATENT_DIFFUSION

from ..checkpoint import Checkpoint
from .component import Component, Input, Shape, Sizes
from .sizes import StaticShape, own_size, static_sizes, vae_factor
from .text import ldm_bert, text_encoder
from .unet import unet
from .vae import decoder, encoder

__all__ = [
    "Component",
    "Input",
    "Shape",
    "Sizes",
    "StaticShape",
    "components_of",
    "own_size",
    "static_sizes",
    "vae_factor",
]


def components_of(checkpoint: Checkpoint) -> dict[str, Callable[[], Component]]:
    """The components of a checkpoint in the order of the pipeline, each loaded when it is called for."""
    encode = ldm_bert if checkpoint.family is LATENT_DIFFUSION else text_encoder
    components: dict[str, Callable[[], Component]] = {
        taken.name: partial(encode, checkpoint, taken) for taken in checkpoint.family.encoders
    }
    components["unet"] = partial(unet, checkpoint)
    components["vae_decoder"] = partial(decoder, checkpoint, "vae_decoder", "vae")
    components["vae_encoder"] = partial(encoder, checkpoint)
    if checkpoint.preview_decoder is not None:
        components["preview_decoder"] = partial(decoder, checkpoint, "preview_decoder", "preview_decoder")
    return components
