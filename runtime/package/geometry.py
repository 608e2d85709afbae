"""What sizes a package has, and whether its graphs fit each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PackageError
from ..families.conditioning import POOLED, SIZES, TEXT
from ..families.family import TextEncoder
from ..ort.session import Tensor
from .package import Package

# What AutoencoderKL and UNet2DConditionModel default to, for others' packages that carry no config.json
_VAE_BLOCKS, _LATENT_CHANNELS, _SAMPLE_SIZE = 4, 4, 64


def scaling_factor(vae: Mapping[str, Any], own: float) -> float:
    """What latents are divided by before they are decoded: from the decoder's config, or `own` where that is silent."""
    return float(vae.get("scaling_factor", own))


def vae_factor(vae: Mapping[str, Any]) -> int:
    """Pixels to a latent along a side, from the decoder's config."""
    return int(2 ** (len(vae.get("block_out_channels", range(_VAE_BLOCKS))) - 1))


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a component by name, whether its graph is loaded or not."""

    name: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


def signature_of(package: Package, component: str) -> Signature | None:
    """Inputs and outputs of a component from the manifest; None where they are not recorded."""
    record = package.manifest.component(component)
    if record.inputs is None or record.outputs is None:
        return None
    return Signature(component, record.inputs, record.outputs)


def latent_channels(vae: Mapping[str, Any]) -> int:
    """Channels of the latents, from the decoder's config: those of a code, where it has a book of them."""
    return int(vae.get("vq_embed_dim") or vae.get("latent_channels", _LATENT_CHANNELS))


def sample_channels(network: Signature, config: Mapping[str, Any], default: int) -> int:
    """Channels that the network is fed, from the graph where they are fixed (older exporters left them open)."""
    axis = network.inputs["sample"].shape[1]
    return axis if isinstance(axis, int) else int(config.get("in_channels", default))


def latent_size(network: Signature, config: Mapping[str, Any]) -> tuple[int, int]:
    """Own (height, width) of the latents, from the graph where it is fixed, else from its config."""
    axes = network.inputs["sample"].shape[2:]
    own = config.get("sample_size", _SAMPLE_SIZE)
    sizes = own if isinstance(own, list) else [own, own]
    height, width = (axis if isinstance(axis, int) else int(size) for axis, size in zip(axes, sizes, strict=True))
    return height, width


def check_widths(encoders: Sequence[Signature], network: Signature, taken: Sequence[TextEncoder]) -> None:
    """Refuse text encoders and a network that do not fit each other.

    Args:
        encoders: of the package.
        network: what they condition.
        taken: what is taken of each.

    Raises:
        PackageError: an input or output is missing, or the widths of the conditioning differ.
    """
    widths: list[int | str] = []
    for encoder, each in zip(encoders, taken, strict=True):
        for output in (each.hidden(encoder.outputs), *((POOLED,) if each.pooled else ())):
            if output not in encoder.outputs:
                raise PackageError(f"{encoder.name} has no output {output}; it has: {', '.join(encoder.outputs)}")
        widths.append(encoder.outputs[each.hidden(encoder.outputs)].shape[-1])
    pooled = (POOLED, SIZES) if any(each.pooled for each in taken) else ()
    for name in ("sample", "timestep", TEXT, *pooled):
        if name not in network.inputs:
            raise PackageError(f"{network.name} has no input {name}; it has: {', '.join(network.inputs)}")
    given = sum(width for width in widths if isinstance(width, int))
    wanted = network.inputs[TEXT].shape[-1]
    if all(isinstance(width, int) for width in (*widths, wanted)) and given != wanted:
        names = " and ".join(encoder.name for encoder in encoders)
        raise PackageError(
            f"{names} give{'s' if len(encoders) == 1 else ''} embeddings of width {given} but {network.name} takes "
            f"{wanted}: they are not of the same model"
        )
