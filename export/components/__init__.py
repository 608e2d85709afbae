"""The components of a checkpoint: small modules whose inputs and outputs are named as optimum names them."""

from collections.abc import Callable
from functools import partial

from triptych.runtime.errors import SourceError, TriptychError

from ..checkpoint import Checkpoint, check_fields
from ..sources import one_line
from .component import Component, Input, Shape, Sizes
from .latent_rgb import LatentRgb, fit_latent_rgb
from .sizes import StaticShape, own_size, side_multiple, static_sizes, vae_factor
from .text import ldm_bert, qwen3_encoder, t5_encoder, text_encoder
from .transformer import sd3_transformer
from .unet import unet
from .vae import vae_decoder, vae_encoder

__all__ = [
    "Component",
    "Input",
    "LatentRgb",
    "Shape",
    "Sizes",
    "StaticShape",
    "components_of",
    "fit_latent_rgb",
    "own_size",
    "side_multiple",
    "static_sizes",
    "vae_factor",
]

_TEXT_ENCODERS = {"clip": text_encoder, "bert": ldm_bert, "t5": t5_encoder, "qwen3": qwen3_encoder}
"""Kind of a text encoder, as its family has it -> what makes its component."""

_DENOISERS = {"UNet2DConditionModel": unet, "SD3Transformer2DModel": sd3_transformer}
"""Class of a denoiser, as its family has it -> what makes its component."""


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
    family = checkpoint.family
    components[family.denoiser] = partial(_DENOISERS[family.denoiser_class], checkpoint)
    components["vae_decoder"] = partial(vae_decoder, checkpoint, "vae_decoder", "vae")
    components["vae_encoder"] = partial(vae_encoder, checkpoint)
    if checkpoint.preview_decoder is not None:
        components["preview_decoder"] = partial(vae_decoder, checkpoint, "preview_decoder", "preview_decoder")
    return {name: partial(_built, f"{checkpoint.name}: {name}", load) for name, load in components.items()}


def _built(name: str, load: Callable[[], Component]) -> Component:
    """A component; a value of its config.json that no module can be built from is a SourceError, whoever finds it."""
    try:
        return load()
    except (TriptychError, OSError, MemoryError):
        raise
    except Exception as error:  # of any kind: neither diffusers nor transformers checks all values
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise SourceError(f"{name} cannot be built from its config.json ({reason})") from error
