"""The components of a checkpoint: small modules whose inputs and outputs are named as optimum names them."""

from collections.abc import Callable
from functools import partial

from ..checkpoint import Checkpoint, check_fields
from .component import Component, Input, Shape, Sizes
from .sizes import StaticShape, own_size, static_sizes, vae_factor
from .text import ldm_bert, text_encoder
from .unet import unet
from .vae import vae_decoder, vae_encoder

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

_TEXT_ENCODERS = {"clip": text_encoder, "bert": ldm_bert}
"""Kind of a text encoder, as its family has it -> what makes its component."""


def components_of(checkpoint: Checkpoint) -> dict[str, Callable[[], Component]]:
    """Name -> loader of each component of a checkpoint, in the order of the pipeline.

    Raises:
        SourceError: a configuration that is not supported, see `check_fields`.
    """
    check_fields(checkpoint)
    components: dict[str, Callable[[], Component]] = {
        encoder.name: partial(_TEXT_ENCODERS[encoder.kind], checkpoint, encoder)
        for encoder in checkpoint.family.encoders
    }
    components["unet"] = partial(unet, checkpoint)
    components["vae_decoder"] = partial(vae_decoder, checkpoint, "vae_decoder", "vae")
    components["vae_encoder"] = partial(vae_encoder, checkpoint)
    if checkpoint.preview_decoder is not None:
        components["preview_decoder"] = partial(vae_decoder, checkpoint, "preview_decoder", "preview_decoder")
    return components
