"""A checkpoint with another VAE, with LoRAs, or with a decoder for previews."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.runtime.errors import SourceError
from triptych.runtime.package.geometry import latent_channels

from ..files import sha256_of
from ..sources import is_hub_id
from .checkpoint import FULL, PREVIEW, TINY, Checkpoint
from .folder import Folder, Part, weights_patterns
from .hub import fetch
from .lora import open_lora
from .single_file import FilePart, holds_a_vae
from .tensors import Tensors


def with_preview_decoder(checkpoint: Checkpoint, source: str | Path) -> Checkpoint:
    """The checkpoint with a tiny decoder for previews, from the folder or hub id of an `AutoencoderTiny`.

    Raises:
        SourceError: nothing there, no network, another kind of model, or one for latents with other channels.
    """
    part, _ = _autoencoder(source, checkpoint, (TINY,), f"for previews, give an {TINY}")
    return replace(checkpoint, parts={**checkpoint.parts, PREVIEW: part})


def with_vae(checkpoint: Checkpoint, source: str | Path) -> Checkpoint:
    """The checkpoint with another autoencoder in place of its own, from a folder, a hub id or a single file.

    A file has no configuration of its own and takes that of the autoencoder which it replaces.

    Raises:
        SourceError: nothing there, no network, another kind of model, or one for latents with other channels.
    """
    path = Path(source)
    if path.is_file():
        if path.suffix != ".safetensors":
            raise SourceError(f"{path.name} is not a .safetensors file; no other single files with a VAE are read")
        tensors = Tensors(path)
        if not holds_a_vae(tensors):
            raise SourceError(f"{path.name} is not a VAE: it has no decoder.conv_in among its {len(tensors)} tensors")
        part: Part = FilePart(tensors, "vae", checkpoint.parts["vae"])
        origin = {"name": path.name, "sha256": sha256_of(path)}
    else:
        part, origin = _autoencoder(source, checkpoint, (FULL, TINY), f"as VAE, give an {FULL} or {TINY}")
    index = {**checkpoint.model_index, "vae": ["diffusers", part.config()["_class_name"]]}
    parts, details = {**checkpoint.parts, "vae": part}, {**checkpoint.details, "vae": origin}
    return replace(checkpoint, model_index=index, parts=parts, details=details)


def with_loras(checkpoint: Checkpoint, loras: Sequence[tuple[str | Path, float]]) -> Checkpoint:
    """The checkpoint with LoRAs fused into its weights, from files, folders or hub ids, each with its weight.

    Raises:
        SourceError: nothing there, no LoRA, or one for another family.
    """
    if checkpoint.family.denoiser != "unet":
        raise SourceError(f"{checkpoint.name} is a {checkpoint.family.name}; LoRAs are fused into U-Nets alone")
    opened = tuple(open_lora(source, weight, checkpoint.parts) for source, weight in loras)
    recorded = [{"name": lora.name, "sha256": lora.sha256, "weight": lora.weight} for lora in opened]
    return replace(checkpoint, loras=opened, details={**checkpoint.details, "loras": recorded})


def _autoencoder(
    source: str | Path, checkpoint: Checkpoint, kinds: tuple[str, ...], hint: str
) -> tuple[Part, dict[str, Any]]:
    """An autoencoder for the checkpoint's latents from a folder or hub id, and its record for the manifest."""
    folder, revision = Path(source), None
    if not folder.is_dir():
        if not is_hub_id(source):
            raise SourceError(f"{source} is neither a folder nor a hub id (owner/name)")
        folder = fetch(str(source), None, ["config.json", *weights_patterns(None, "safetensors")])
        revision = folder.name
    if not (folder / "config.json").is_file():
        raise SourceError(f"{source} is not an autoencoder: it has no config.json")
    name = str(source) if revision else folder.resolve().name
    part = Folder(folder, name)
    config = part.config()
    if config.get("_class_name") not in kinds:
        raise SourceError(f"{source} is a {config.get('_class_name')}; {hint}")
    channels, expected = latent_channels(config), latent_channels(checkpoint.config("vae"))
    if channels != expected:
        raise SourceError(
            f"{source} decodes latents of {channels} channels; those of {checkpoint.name} have {expected}"
        )
    return part, {"name": name, "revision": revision}
