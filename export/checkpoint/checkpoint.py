"""A checkpoint, wherever it comes from: folder, hub or single file; one component in memory at a time."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from triptych.runtime.errors import SourceError, nearest
from triptych.runtime.families.family import FAMILIES, LATENT_DIFFUSION, Family, family_by
from triptych.runtime.package.geometry import latent_channels

from ..publish import sha256_of
from .folder import Folder, Part, no_variant, weights_patterns
from .hub import fetch, fetch_components, is_hub_id
from .loading import load_module
from .lora import Lora, open_lora
from .single_file import FilePart, configuration_of, holds_a_vae, pipeline_of
from .tensors import Tensors, read_json
from .vocabulary import with_vocabulary

if TYPE_CHECKING:
    from .embeddings import Embedding

PIPELINES = tuple(dict.fromkeys(pipeline for family in FAMILIES for pipeline in family.pipelines))
"""What `_class_name` in model_index.json of a checkpoint may be."""

TINY = "AutoencoderTiny"
"""The class of autoencoders that are small enough to look at a picture while it is made (TAESD)."""

FULL, QUANTIZED = "AutoencoderKL", "VQModel"
"""The class of those that most models have, and of those whose latents are taken from a book of codes."""

_PREVIEW = "preview_decoder"
_NAMES = {LATENT_DIFFUSION: {"bert": "text_encoder", "vqvae": "vae"}}
"""Components with other names in the checkpoints of a family than here and in packages."""


@dataclass(frozen=True)
class Checkpoint:
    """Components, each from its own place, and the folder with everything else: scheduler and tokenizers.

    `name` and `revision` say where it came from, without this machine's paths, and `details` what else is recorded of
    that: the variant of the weights, another VAE, LoRAs, learned words. `file` is set where all weights are in one.
    `embeddings` and `clip_skip` are what is changed about its text encoders: see `export.embeddings`.
    """

    path: Path
    name: str
    revision: str | None
    model_index: Mapping[str, Any]
    parts: Mapping[str, Part]
    details: Mapping[str, Any] = field(default_factory=dict)
    loras: tuple[Lora, ...] = ()
    file: Path | None = None
    embeddings: "tuple[Embedding, ...]" = ()
    clip_skip: int = 0

    @property
    def family(self) -> Family:
        """Which family of models it belongs to."""
        return _family(self.model_index)

    @property
    def preview_decoder(self) -> Part | None:
        """The `AutoencoderTiny` that goes with it, as component of that name, if any."""
        return self.parts.get(_PREVIEW)

    def source(self) -> dict[str, Any]:
        """What the manifest says of where it came from; of a single file the digest, too, by which sites know it."""
        digest = {} if self.file is None else {"sha256": sha256_of(self.file)}
        return {"name": self.name, "revision": self.revision, **digest, **self.details}

    def config(self, component: str) -> dict[str, Any]:
        """The component's config.json, less the place that it was once saved from."""
        return self.parts[component].config()

    def weights_bytes(self) -> int:
        """Bytes of the weights that an export reads.

        Raises:
            SourceError: a component has none.
        """
        return sum(part.weights_bytes() for part in self.parts.values())

    def load(self, component: str, build: Callable[[], nn.Module]) -> nn.Module:
        """Build a component's module and give it its weights and what LoRAs add to them, for inference.

        They have the types of the files, or float32 where something was added.

        Raises:
            SourceError: weights are missing, broken, unknown to the module, or of other shapes; a LoRA does not fit.
        """
        module = load_module(f"{self.name}: {component}", self.parts[component], build)
        for lora in self.loras:
            lora.fuse(component, module)
        return module

    def tokenizer(self, name: str = "tokenizer") -> AbstractContextManager[Path]:
        """The folder of a tokenizer; in the configuration of a single file CLIP's vocabulary is put to it."""
        folder = self.path / name
        return nullcontext(folder) if self.file is None else with_vocabulary(folder)


def open_checkpoint(
    source: str | Path,
    revision: str | None = None,
    *,
    variant: str | None = None,
    config: str | Path | None = None,
) -> Checkpoint:
    """Open a diffusers folder, a single file, or what an export needs of a hub id, downloaded.

    Args:
        source: the folder, the .safetensors file, or the hub id.
        revision: branch, tag or commit of a hub id; None is its main branch.
        variant: which weights of a folder or hub id, such as fp16; None is the plain ones.
        config: what describes a single file: a diffusers folder, or the name of one of `single_file.CONFIGURATIONS`;
            None finds out.

    Raises:
        SourceError: nothing there, no network, no checkpoint, or of a family that is not supported.
    """
    path, hub = Path(source), not Path(source).exists()
    if hub and not is_hub_id(source):
        raise SourceError(f"{source} is neither a folder nor a hub id (owner/name), nor a .safetensors file")
    for option, given, allowed, what in (
        ("revision", revision, hub, "a hub id"),
        ("variant", variant, hub or path.is_dir(), "a folder or hub id"),
        ("configuration", config, path.is_file(), "a single file"),
    ):
        if given is not None and not allowed:
            kind = "hub id" if hub else "folder" if path.is_dir() else "file"
            raise SourceError(f"{source} is a {kind}; a {option} ({given}) goes with {what}")
    if path.is_file():
        return _open_file(path, config)
    if hub:
        folder = fetch(str(source), revision, ["model_index.json"])
        model_index = _model_index(folder, source)
        folder = fetch_components(str(source), folder.name, list(_folders(model_index).values()), variant)
        name, commit = str(source), folder.name  # the hub's cache has a folder for each commit
    else:
        folder, name, commit = path, path.resolve().name, None
        model_index = _model_index(folder, source)
    parts = {component: Folder(folder / place, name, variant) for component, place in _folders(model_index).items()}
    _check_whole(folder, parts, source)
    if variant is not None and not any(part.has(variant) for part in parts.values()):
        raise no_variant(name, variant, [str(file) for part in parts.values() for file in part.path.iterdir()])
    return Checkpoint(folder, name, commit, model_index, parts, {} if variant is None else {"variant": variant})


def with_preview_decoder(checkpoint: Checkpoint, source: str | Path) -> Checkpoint:
    """The checkpoint with a tiny decoder for previews, from the folder or hub id of an `AutoencoderTiny`.

    Raises:
        SourceError: nothing there, no network, another kind of model, or one for latents with other channels.
    """
    part, _ = _autoencoder(source, checkpoint, (TINY,), f"for previews, give an {TINY}")
    return replace(checkpoint, parts={**checkpoint.parts, _PREVIEW: part})


def with_vae(checkpoint: Checkpoint, source: str | Path) -> Checkpoint:
    """The checkpoint with another autoencoder in place of its own, from a folder, a hub id or a single file.

    A file brings no configuration: the checkpoint's own, that of the autoencoder it replaces, holds for it.

    Raises:
        SourceError: nothing there, no network, another kind of model, or one for latents with other channels.
    """
    path = Path(source)
    if path.is_file():
        tensors = Tensors(path)
        if not holds_a_vae(tensors):
            raise SourceError(f"{path.name} is no VAE: it has no decoder.conv_in among its {len(tensors)} tensors")
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
    opened = tuple(open_lora(source, weight, checkpoint.parts) for source, weight in loras)
    recorded = [{"name": lora.name, "sha256": lora.sha256, "weight": lora.weight} for lora in opened]
    return replace(checkpoint, loras=opened, details={**checkpoint.details, "loras": recorded})


def _open_file(file: Path, config: str | Path | None) -> Checkpoint:
    if file.suffix != ".safetensors":
        raise SourceError(f"{file.name} is no .safetensors file; of single files, only those are read")
    tensors = Tensors(file)
    folder = configuration_of(tensors, config)
    model_index = _model_index(folder, file.name if config is None else f"{file.name} with --config {config}")
    model_index["_class_name"] = pipeline_of(tensors, model_index["_class_name"])
    _check_supported(model_index, file.name)
    described = {component: Folder(folder / component, file.name) for component in _folders(model_index)}
    _check_whole(folder, described, folder)
    parts = {component: FilePart(tensors, component, part) for component, part in described.items()}
    return Checkpoint(folder, file.name, None, model_index, parts, {"configuration": folder.name}, file=file)


def _model_index(folder: Path, source: object) -> dict[str, Any]:
    """The model_index.json of a family that is supported, with components named as in packages."""
    if not (folder / "model_index.json").is_file():
        raise SourceError(f"{source} is no diffusers checkpoint: it has no model_index.json")
    model_index = read_json(folder / "model_index.json")
    _check_supported(model_index, source)
    names = _NAMES.get(_family(model_index), {})
    return {names.get(key, key): value for key, value in model_index.items()}


def _check_supported(model_index: Mapping[str, Any], source: object) -> None:
    pipeline = str(model_index.get("_class_name"))
    if pipeline not in PIPELINES or family_by(model_index) is None:
        raise SourceError(f"{source} is a {pipeline}, which is not supported; {nearest(pipeline, PIPELINES)}")


def _family(model_index: Mapping[str, Any]) -> Family:
    """Of an index that `_model_index` gave."""
    family = family_by(model_index)
    assert family is not None
    return family


def _folders(model_index: Mapping[str, Any]) -> dict[str, str]:
    """The components that an export reads, and their folders."""
    family = _family(model_index)
    places = {component: place for place, component in _NAMES.get(family, {}).items()}
    return {
        component: places.get(component, component) for component in (*family.text_encoders, family.generator, "vae")
    }


def _check_whole(folder: Path, components: Mapping[str, Folder], source: object) -> None:
    for part in components.values():
        if not (part.path / "config.json").is_file():
            raise SourceError(f"{source} is not whole: it has no {part.path.name}/config.json")


def _autoencoder(
    source: str | Path, checkpoint: Checkpoint, kinds: tuple[str, ...], wanted: str
) -> tuple[Part, dict[str, Any]]:
    """An autoencoder in a folder or at a hub id, for the checkpoint's latents, and where it came from."""
    folder, revision = Path(source), None
    if not folder.is_dir():
        if not is_hub_id(source):
            raise SourceError(f"{source} is neither a folder nor a hub id (owner/name)")
        folder = fetch(str(source), None, ["config.json", *weights_patterns(None, "safetensors")])
        revision = folder.name
    if not (folder / "config.json").is_file():
        raise SourceError(f"{source} is no autoencoder: it has no config.json")
    name = str(source) if revision else folder.resolve().name
    part = Folder(folder, name)
    config = part.config()
    if config.get("_class_name") not in kinds:
        raise SourceError(f"{source} is a {config.get('_class_name')}; {wanted}")
    given, own = config["latent_channels"], latent_channels(checkpoint.config("vae"))
    if given != own:
        raise SourceError(f"{source} decodes latents of {given} channels; those of {checkpoint.name} have {own}")
    return part, {"name": name, "revision": revision}
