"""Autoencoders: the decoder, the encoder, and the tiny decoder for previews."""

from typing import Any

import numpy as np
import torch

from ..checkpoint import TINY, Checkpoint
from ..modules import Decoder, Encoder
from .component import Array, Component, Input, gaussian
from .sizes import own_latents, vae_factor


def _pixels(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.uniform(-1, 1, shape).astype(np.float32)


def _vae(checkpoint: Checkpoint, folder: str) -> Any:
    from diffusers import AutoencoderKL, AutoencoderTiny

    config = checkpoint.config(folder)
    kind = AutoencoderTiny if config.get("_class_name") == TINY else AutoencoderKL
    # float32 at once: its decoder goes by the type of its weights, and there are not many of them
    return checkpoint.load(folder, lambda: kind.from_config(config)).float()


def decoder(checkpoint: Checkpoint, name: str, folder: str) -> Component:
    """The decoder of the autoencoder in a folder of the checkpoint."""
    vae = _vae(checkpoint, folder)
    config, factor = vae.config, vae_factor(checkpoint, folder)
    latents = ("batch_size", config["latent_channels"], "latent_height", "latent_width")
    pictures = ("batch_size", config["out_channels"], f"latent_height * {factor}", f"latent_width * {factor}")
    height, width = own_latents(checkpoint)
    return Component(
        name=name,
        config=checkpoint.config(folder),
        module=Decoder(vae),
        reference=lambda latent_sample: vae.decode(latent_sample, return_dict=False),
        inputs={"latent_sample": Input(latents, gaussian(1 / config["scaling_factor"]))},
        outputs={"sample": pictures},
        default={"batch_size": 1, "latent_height": height, "latent_width": width},
        cases=(
            {"batch_size": 1, "latent_height": 16, "latent_width": 16},
            {"batch_size": 2, "latent_height": 16, "latent_width": 24},
            {"batch_size": 1, "latent_height": 21, "latent_width": 10},
        ),
    )


def encoder(checkpoint: Checkpoint) -> Component:
    """The encoder, which gives means and log variances; that of a tiny autoencoder the latents themselves."""
    vae = _vae(checkpoint, "vae")
    config, factor = vae.config, vae_factor(checkpoint)
    pictures = ("batch_size", config["in_channels"], "sample_height", "sample_width")
    # A tiny encoder gives the latents themselves; the other means and log variances, to draw them from
    tiny = config["_class_name"] == TINY
    output, channels = ("latent_sample", 1) if tiny else ("latent_parameters", 2)
    sides = (f"sample_height // {factor}", f"sample_width // {factor}")
    height, width = own_latents(checkpoint)

    def encode(sample: torch.Tensor) -> tuple[torch.Tensor, ...]:
        encoded = vae.encode(sample)
        return (encoded.latents if tiny else encoded.latent_dist.parameters,)

    return Component(
        name="vae_encoder",
        config=checkpoint.config("vae"),
        module=Encoder(vae),
        reference=encode,
        inputs={"sample": Input(pictures, _pixels)},
        outputs={output: ("batch_size", channels * config["latent_channels"], *sides)},
        default={"batch_size": 1, "sample_height": height * factor, "sample_width": width * factor},
        cases=(
            {"batch_size": 1, "sample_height": 16 * factor, "sample_width": 16 * factor},
            {"batch_size": 2, "sample_height": 16 * factor, "sample_width": 24 * factor},
            {"batch_size": 1, "sample_height": 21 * factor, "sample_width": 10 * factor},
        ),
    )
