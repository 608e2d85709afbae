"""Sizes of a checkpoint: of its pictures and latents, and of the axes of a graph of fixed shapes."""

from triptych.runtime.errors import SourceError

from ..checkpoint import Checkpoint
from .component import Component


def static_sizes(checkpoint: Checkpoint, component: Component, static: tuple[int, int, int]) -> dict[str, int]:
    """The size of every axis in a graph of fixed shapes; `static` is the U-Net's batch, and height and width in pixels.

    Only the U-Net has that batch (2 is one picture with guidance): texts are encoded and pictures decoded one by one.

    Raises:
        SourceError: height or width is not a multiple of the VAE's factor.
    """
    batch, height, width = static
    factor = vae_factor(checkpoint)
    if batch < 1 or min(height, width) < factor or height % factor or width % factor:
        raise SourceError(f"fixed sizes must be multiples of {factor} pixels, batch at least 1, not {static}")
    sizes = dict(component.default)
    sizes["batch_size"] = batch if component.name == "unet" else 1
    for axis, pixels in (("height", height), ("width", width)):
        for name, size in ((f"sample_{axis}", pixels), (f"latent_{axis}", pixels // factor), (axis, pixels // factor)):
            if name in sizes:
                sizes[name] = size
    return sizes


def own_size(checkpoint: Checkpoint) -> tuple[int, int]:
    """Height and width in pixels of the pictures that the U-Net was trained on."""
    height, width = own_latents(checkpoint)
    return height * vae_factor(checkpoint), width * vae_factor(checkpoint)


def vae_factor(checkpoint: Checkpoint, vae: str = "vae") -> int:
    """How many pixels of height or width one latent stands for."""
    return int(2 ** (len(checkpoint.config(vae)["block_out_channels"]) - 1))


def own_latents(checkpoint: Checkpoint) -> tuple[int, int]:
    """Height and width of the latents that the U-Net was trained on."""
    own = checkpoint.config("unet")["sample_size"]
    height, width = own if isinstance(own, list) else (own, own)
    return int(height), int(width)
