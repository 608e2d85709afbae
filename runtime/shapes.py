"""What sizes a package has, and whether its graphs fit each other."""

from collections.abc import Mapping
from typing import Any

from .errors import PackageError
from .session import Graph

# What AutoencoderKL and UNet2DConditionModel default to, for others' packages that carry no config.json
SCALING_FACTOR, VAE_BLOCKS, SAMPLE_SIZE = 0.18215, 4, 64


def latent_shape(network: Graph, config: Mapping[str, Any]) -> tuple[int, tuple[int, int]]:
    """Channels and own (height, width) of the latents, from the graph where it is fixed, else from its config."""
    _, channels, *axes = network.inputs["sample"].shape
    if not isinstance(channels, int):  # older exporters left this axis open, too
        channels = int(config.get("in_channels", 4))
    own = config.get("sample_size", SAMPLE_SIZE)
    sizes = own if isinstance(own, list) else [own, own]
    height, width = (axis if isinstance(axis, int) else int(size) for axis, size in zip(axes, sizes, strict=True))
    return channels, (height, width)


def check_widths(encoder: Graph, network: Graph, conditioning: str) -> None:
    """Refuse a text encoder and a network that do not fit each other.

    Raises:
        PackageError: an input or output is missing, or the widths of the conditioning differ.
    """
    if conditioning not in encoder.outputs:
        raise PackageError(f"{encoder.name} has no output {conditioning}; it has: {', '.join(encoder.outputs)}")
    for name in ("sample", "timestep", "encoder_hidden_states"):
        if name not in network.inputs:
            raise PackageError(f"{network.name} has no input {name}; it has: {', '.join(network.inputs)}")
    given = encoder.outputs[conditioning].shape[-1]
    wanted = network.inputs["encoder_hidden_states"].shape[-1]
    if isinstance(given, int) and isinstance(wanted, int) and given != wanted:
        raise PackageError(
            f"{encoder.name} gives embeddings of width {given} but {network.name} takes {wanted}: "
            "they are not of the same model"
        )
