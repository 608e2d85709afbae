"""Sizes of a checkpoint's images and latents, and of the axes of a graph of fixed shapes."""

from dataclasses import dataclass

from triptych.runtime.errors import SourceError

from ..checkpoint import Checkpoint
from .component import Component

GUIDED_TEXTS = 2
"""Texts of an image with guidance: the prompt and the negative prompt."""


@dataclass(frozen=True)
class StaticShape:
    """Sizes of graphs of fixed shapes: `batch` of the denoiser, `height` and `width` of images in pixels."""

    batch: int
    height: int
    width: int


def static_sizes(checkpoint: Checkpoint, component: Component, static: StaticShape) -> dict[str, int]:
    """Size of every axis of a component's graph of fixed shapes.

    Only the denoiser has the whole batch (2 is one image with guidance). Text encoders take the two texts of an image
    with guidance at once, and images are decoded one by one.

    Raises:
        SourceError: height or width is not a multiple of `side_multiple`.
    """
    factor, multiple = vae_factor(checkpoint), side_multiple(checkpoint)
    sides = {"height": static.height, "width": static.width}
    if static.batch < 1 or any(pixels < multiple or pixels % multiple for pixels in sides.values()):
        raise SourceError(
            f"fixed sizes must be multiples of {multiple} pixels, batch at least 1, not batch {static.batch}, height "
            f"{static.height}, width {static.width}"
        )
    sizes = dict(component.default)
    family = checkpoint.family
    rows = {family.denoiser: static.batch, **dict.fromkeys(family.text_encoders, min(static.batch, GUIDED_TEXTS))}
    sizes["batch_size"] = rows.get(component.name, 1)
    for axis, pixels in sides.items():
        for name, size in ((f"sample_{axis}", pixels), (f"latent_{axis}", pixels // factor), (axis, pixels // factor)):
            if name in sizes:
                sizes[name] = size
    return sizes


def own_size(checkpoint: Checkpoint) -> tuple[int, int]:
    """Height and width in pixels of the images that the denoiser was trained on."""
    height, width = own_latents(checkpoint)
    return height * vae_factor(checkpoint), width * vae_factor(checkpoint)


def vae_factor(checkpoint: Checkpoint, vae: str = "vae") -> int:
    """Pixels of height or width per latent."""
    return int(2 ** (len(checkpoint.config(vae)["block_out_channels"]) - 1))


def side_multiple(checkpoint: Checkpoint) -> int:
    """Pixels that height and width are multiples of: whole latents, and whole tokens of the denoiser."""
    patch = checkpoint.config(checkpoint.family.denoiser).get("patch_size", checkpoint.family.latents.patch)
    return vae_factor(checkpoint) * int(patch)


def prompt_length(checkpoint: Checkpoint) -> int:
    """Tokens of a chunk of a prompt."""
    return int(checkpoint.config(checkpoint.family.text_encoders[0]).get("max_position_embeddings", 77))


def own_latents(checkpoint: Checkpoint) -> tuple[int, int]:
    """Height and width of the latents that the denoiser was trained on."""
    size = checkpoint.config(checkpoint.family.denoiser)["sample_size"]
    height, width = size if isinstance(size, list) else (size, size)
    return int(height), int(width)
