"""Autoencoders: the decoder, the encoder, and the tiny decoder for previews."""

from typing import Any

import numpy as np
import torch

from triptych.runtime.package.geometry import latent_channels

from ..checkpoint import FULL, QUANTIZED, TINY, Checkpoint
from .component import Array, Component, Draw, Input, gaussian
from .modules import Decoder, Encoder, QuantizingDecoder
from .sizes import own_latents, vae_factor


def _pixels(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.uniform(-1, 1, shape).astype(np.float32)


def _near_codes(codes: torch.Tensor) -> Draw:
    """Random codes of a codebook [codes, channels], each moved a quarter of the way to its neighbour.

    Each code stays the nearest. Of latents between two codes, rounding would decide which one is compared.
    """

    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        book = codes.numpy()
        drawn = book[generator.integers(0, len(book), (shape[0], *shape[2:]))]
        distance = np.sort(np.linalg.norm(drawn[..., None, :] - book, axis=-1), axis=-1)[..., 1:2]
        directions = generator.standard_normal(drawn.shape)
        moved = drawn + distance / 4 * directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        return np.ascontiguousarray(moved.transpose(0, 3, 1, 2), np.float32)

    return draw


def _vae(checkpoint: Checkpoint, folder: str) -> Any:
    from diffusers import AutoencoderKL, AutoencoderTiny, VQModel

    config = checkpoint.config(folder)
    kind: Any = {TINY: AutoencoderTiny, QUANTIZED: VQModel}.get(config.get("_class_name", FULL), AutoencoderKL)
    # float32 at once: the decoder computes in the dtype of its weights, and they are few
    return checkpoint.load(folder, lambda: kind.from_config(config)).float()


def vae_decoder(checkpoint: Checkpoint, name: str, folder: str) -> Component:
    """The decoder of an autoencoder of the checkpoint, `folder`, as component `name`."""
    vae = _vae(checkpoint, folder)
    config, factor = vae.config, vae_factor(checkpoint, folder)
    quantized = config.get("_class_name") == QUANTIZED
    draw = _near_codes(vae.quantize.embedding.weight) if quantized else gaussian(1 / config["scaling_factor"])
    latents = ("batch_size", latent_channels(config), "latent_height", "latent_width")
    images = ("batch_size", config["out_channels"], f"latent_height * {factor}", f"latent_width * {factor}")
    height, width = own_latents(checkpoint)
    return Component(
        name=name,
        config=checkpoint.config(folder),
        module=QuantizingDecoder(vae) if quantized else Decoder(vae),
        original=vae,
        reference=lambda latent_sample: vae.decode(latent_sample, return_dict=False)[:1],
        inputs={"latent_sample": Input(latents, draw)},
        outputs={"sample": images},
        default={"batch_size": 1, "latent_height": height, "latent_width": width},
        cases=(
            {"batch_size": 1, "latent_height": 16, "latent_width": 16},
            {"batch_size": 2, "latent_height": 16, "latent_width": 24},
            {"batch_size": 1, "latent_height": 21, "latent_width": 10},
        ),
        keeps_fp32="float16 would take other codes than the nearest" if quantized else None,
    )


def vae_encoder(checkpoint: Checkpoint) -> Component:
    """The encoder: means and log variances, or the latents themselves of a tiny or quantizing autoencoder."""
    vae = _vae(checkpoint, "vae")
    config, factor = vae.config, vae_factor(checkpoint)
    images = ("batch_size", config["in_channels"], "sample_height", "sample_width")
    plain = config["_class_name"] in (TINY, QUANTIZED)
    output, channels = ("latent_sample", 1) if plain else ("latent_parameters", 2)
    sides = (f"sample_height // {factor}", f"sample_width // {factor}")
    height, width = own_latents(checkpoint)

    def encode(sample: torch.Tensor) -> tuple[torch.Tensor, ...]:
        encoded = vae.encode(sample)
        return (encoded.latents if plain else encoded.latent_dist.parameters,)

    return Component(
        name="vae_encoder",
        config=checkpoint.config("vae"),
        module=Encoder(vae),
        reference=encode,
        original=vae,
        inputs={"sample": Input(images, _pixels)},
        outputs={output: ("batch_size", channels * latent_channels(config), *sides)},
        default={"batch_size": 1, "sample_height": height * factor, "sample_width": width * factor},
        cases=(
            {"batch_size": 1, "sample_height": 16 * factor, "sample_width": 16 * factor},
            {"batch_size": 2, "sample_height": 16 * factor, "sample_width": 24 * factor},
            {"batch_size": 1, "sample_height": 21 * factor, "sample_width": 10 * factor},
        ),
    )
