"""Shapes of a package: inputs and outputs of its components, its latents, and whether its graphs fit each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import PackageError
from ..families.conditioning import POOLED, SAMPLE, SIZES, TEXT, TIMESTEP
from ..families.family import Family
from ..families.latents import Latents
from .json_file import JsonObject
from .signatures import Signature

# Defaults of AutoencoderKL and UNet2DConditionModel, for packages of other exporters that carry no config.json
_VAE_BLOCKS, _LATENT_CHANNELS, _SAMPLE_SIZE = 4, 4, 64

_MOST_BLOCKS = 8
_MOST_CHANNELS = 4096
_MOST_LATENTS = 8192  # on a side
_SCALING_FACTORS = (1e-3, 1e3)  # models have 0.01 to 2

_SMALLEST_DEVIATION = 1e-6
_LARGEST_SHIFT = 1e3
_MOST_PATCH = 64


@dataclass(frozen=True)
class LatentGeometry:
    """Latents of a package.

    Attributes:
        channels: of the latents.
        size: (height, width) of the latents of an image of the package's own size.
        factor: pixels to a latent along a side.
        scaling_factor: latents are divided by it before they are decoded.
        mean, deviation: of the VAE's own latents, float32 [C, 1, 1]; 0 and 1 where its configuration has none. A shift
            is the mean of all channels.
        denoiser_channels: of the denoiser's input; more than `channels` where mask and masked image latents, or the
            latents of an image to edit, are part of it.
        patch: latents on a side of the denoiser's tokens.
        largest: latents on a side that the denoiser has positions for; None where it takes any.
    """

    channels: int
    size: tuple[int, int]
    factor: int
    scaling_factor: float
    denoiser_channels: int
    mean: np.ndarray
    deviation: np.ndarray
    patch: int
    largest: int | None

    @property
    def multiple(self) -> int:
        """Pixels that height and width are multiples of."""
        return self.factor * self.patch

    def to_vae(self, latents: np.ndarray) -> np.ndarray:
        """Latents of the denoiser, float32 [n, C, h, w], as the VAE's decoder takes them."""
        scaled: np.ndarray = latents * self.deviation / np.float32(self.scaling_factor) + self.mean
        return scaled

    def from_vae(self, latents: np.ndarray) -> np.ndarray:
        """Latents of the VAE's encoder, float32 [n, C, h, w], as the denoiser takes them."""
        scaled: np.ndarray = (latents - self.mean) * np.float32(self.scaling_factor) / self.deviation
        return scaled


def latent_geometry(
    denoiser: Signature, config: Mapping[str, Any], vae: Mapping[str, Any], family: Latents
) -> LatentGeometry:
    """The geometry of latents, from the denoiser's graph where it is fixed there, else from configurations.

    Args:
        denoiser: inputs and outputs of its graph.
        config: the denoiser's config.json.
        vae: the decoder's config.json.
        family: latents of the family.

    Raises:
        PackageError: a value of a configuration that cannot be used; names it.
    """
    own, channels = JsonObject.of(config, f"{denoiser.name}/config.json: "), latent_channels(vae)
    denoiser_channels, *sides = denoiser.inputs[SAMPLE].shape[1:]
    if not isinstance(denoiser_channels, int):  # optimum's first versions left that axis open
        denoiser_channels = own.optional_whole("in_channels", 1, _MOST_CHANNELS) or channels
    patch = own.optional_whole("patch_size", 1, _MOST_PATCH) or family.patch
    positions = own.optional_whole("pos_embed_max_size", 1, _MOST_LATENTS)
    defaults = _sample_size(own)
    height, width = (side if isinstance(side, int) else size for side, size in zip(sides, defaults, strict=True))
    return LatentGeometry(
        channels=channels,
        size=(height, width),
        factor=vae_factor(vae),
        scaling_factor=scaling_factor_of(vae, default=family.scaling_factor),
        denoiser_channels=denoiser_channels,
        patch=patch,
        largest=None if positions is None else positions * patch,
        **_statistics(vae, channels),
    )


def _statistics(vae: Mapping[str, Any], channels: int) -> dict[str, np.ndarray]:
    """Mean and deviation of each channel; as in diffusers, one of the two alone has no effect. A shift is a mean.

    Raises:
        PackageError: they are not `channels` finite numbers each, a deviation is too small, or a shift too large.
    """
    config = _of_vae(vae)
    means = config.optional_numbers("latents_mean", channels)
    deviations = config.optional_numbers("latents_std", channels, _SMALLEST_DEVIATION)
    if means is None or deviations is None:
        shift = config.optional_number("shift_factor", -_LARGEST_SHIFT, _LARGEST_SHIFT) or 0.0
        means, deviations = (shift,) * channels, (1.0,) * channels
    mean, deviation = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (means, deviations))
    return {"mean": mean, "deviation": deviation}


def latent_channels(vae: Mapping[str, Any]) -> int:
    """Channels of the latents by a decoder's config.json; of a VQ model, those of its code book."""
    config = _of_vae(vae)
    codes = config.optional_whole("vq_embed_dim", 1, _MOST_CHANNELS)
    return codes or config.optional_whole("latent_channels", 1, _MOST_CHANNELS) or _LATENT_CHANNELS


def vae_factor(vae: Mapping[str, Any]) -> int:
    """Pixels to a latent along a side, by a decoder's config.json."""
    config = _of_vae(vae)
    if config.get("block_out_channels") is None:
        return int(2 ** (_VAE_BLOCKS - 1))
    blocks = len(config.whole_numbers("block_out_channels", least=1))
    if not 1 <= blocks <= _MOST_BLOCKS:
        raise config.error("block_out_channels", f"a list of 1 to {_MOST_BLOCKS} whole numbers")
    return int(2 ** (blocks - 1))


def scaling_factor_of(vae: Mapping[str, Any], *, default: float) -> float:
    """The divisor of latents before they are decoded, by a decoder's config.json, or a default."""
    factor = _of_vae(vae).optional_number("scaling_factor", *_SCALING_FACTORS)
    return default if factor is None else factor


def check_channels(latents: LatentGeometry, denoiser: str, *, edits: bool) -> None:
    """Refuse a denoiser whose channels are neither those of latents, nor with those of an image or a mask added.

    Args:
        latents: of the package.
        denoiser: its name, for the error.
        edits: the family edits images, which are extra channels.

    Raises:
        PackageError: states the channels.
    """
    own = latents.channels
    allowed = (2 * own,) if edits else (own, 2 * own + 1)
    if latents.denoiser_channels not in allowed:
        raise PackageError(
            f"{denoiser} takes {latents.denoiser_channels} channels, and latents have {own}; "
            f"allowed: {' or '.join(map(str, allowed))}"
        )


def _sample_size(config: JsonObject) -> tuple[int, int]:
    """Height and width of latents by a denoiser's config.json."""
    if isinstance(config.get("sample_size"), list):
        height, width = config.whole_numbers("sample_size", count=2, least=1)
        if max(height, width) > _MOST_LATENTS:
            raise config.error("sample_size", f"one or two whole numbers from 1 to {_MOST_LATENTS}")
        return height, width
    side = config.optional_whole("sample_size", 1, _MOST_LATENTS) or _SAMPLE_SIZE
    return side, side


def _of_vae(config: Mapping[str, Any]) -> JsonObject:
    return JsonObject.of(config, "config.json of the VAE: ")


def check_widths(encoders: Sequence[Signature], denoiser: Signature, family: Family) -> None:
    """Refuse text encoders and a denoiser that do not fit each other.

    Args:
        encoders: text encoders of the package, as the family lists them.
        denoiser: conditioned by them.
        family: of the package.

    Raises:
        PackageError: an input or output is missing, or the widths of the conditioning differ.
    """
    pooled = [encoder for encoder, each in zip(encoders, family.encoders, strict=True) if each.pooled]
    for name in (
        SAMPLE,
        TIMESTEP,
        TEXT,
        *((POOLED,) if pooled else ()),
        *((SIZES,) if family.micro_conditioning else ()),
    ):
        if name not in denoiser.inputs:
            raise PackageError(f"{denoiser.name} has no input {name}; it has: {', '.join(denoiser.inputs)}")
    widths: dict[str, int | str] = {}
    for encoder, each in zip(encoders, family.encoders, strict=True):
        for output in (each.hidden(encoder.outputs), *((POOLED,) if each.pooled else ())):
            if output not in encoder.outputs:
                raise PackageError(f"{encoder.name} has no output {output}; it has: {', '.join(encoder.outputs)}")
        widths[encoder.name] = encoder.outputs[each.hidden(encoder.outputs)].shape[-1]
    appended = {each.name for each in family.encoders if each.appended}
    concatenated = {name: width for name, width in widths.items() if name not in appended}
    _check_width(concatenated, denoiser, TEXT, padded=family.appended_tokens > 0)
    for name in appended:
        _check_width({name: widths[name]}, denoiser, TEXT)
    if pooled:
        _check_width({encoder.name: encoder.outputs[POOLED].shape[-1] for encoder in pooled}, denoiser, POOLED)


def _check_width(widths: Mapping[str, int | str], denoiser: Signature, name: str, *, padded: bool = False) -> None:
    """Refuse encoders whose widths do not add up to that of an input; where states are padded, they may be less."""
    expected = denoiser.inputs[name].shape[-1]
    known = [width for width in widths.values() if isinstance(width, int)]
    if len(known) < len(widths) or not isinstance(expected, int):
        return
    total = sum(known)
    if total > expected or (total < expected and not padded):
        raise PackageError(
            f"{' and '.join(widths)} give{'s' if len(widths) == 1 else ''} embeddings of width {total} but "
            f"{denoiser.name} takes {expected}: they are not of the same model"
        )
