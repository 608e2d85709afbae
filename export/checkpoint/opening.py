"""A folder, a hub id or a single file -> checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.runtime.errors import SourceError, nearest
from triptych.runtime.families.family import FAMILIES, LATENT_DIFFUSION, Family, family_by

from .checkpoint import Checkpoint
from .folder import Folder, no_variant
from .hub import fetch, fetch_components, is_hub_id
from .single_file import FilePart, configuration_of, pipeline_of
from .tensors import Tensors, read_json

PIPELINES = tuple(dict.fromkeys(pipeline for family in FAMILIES for pipeline in family.pipelines))
"""Values that `_class_name` in a checkpoint's model_index.json may have."""

_NAMES = {LATENT_DIFFUSION: {"bert": "text_encoder", "vqvae": "vae"}}
"""Family -> its names of components in checkpoints, where they differ, and those in packages."""


def open_checkpoint(
    source: str | Path,
    revision: str | None = None,
    *,
    variant: str | None = None,
    config: str | Path | None = None,
) -> Checkpoint:
    """Open a diffusers folder, a single file, or a hub id, of which the files that an export needs are downloaded.

    Args:
        source: the folder, the .safetensors file, or the hub id.
        revision: branch, tag or commit of a hub id; None is its main branch.
        variant: of the weights in a folder or hub id, such as fp16; None is the plain ones.
        config: configuration of a single file: a diffusers folder, or the name of one of `single_file.CONFIGURATIONS`;
            None detects it.

    Raises:
        SourceError: nothing there, no network, no checkpoint, or of a family that is not supported.
    """
    path, hub = Path(source), not Path(source).exists()
    if hub and not is_hub_id(source):
        raise SourceError(f"{source} is neither a folder nor a hub id (owner/name), nor a .safetensors file")
    for option, value, allowed, kinds in (
        ("revision", revision, hub, "a hub id"),
        ("variant", variant, hub or path.is_dir(), "a folder or hub id"),
        ("configuration", config, path.is_file(), "a single file"),
    ):
        if value is not None and not allowed:
            kind = "hub id" if hub else "folder" if path.is_dir() else "file"
            raise SourceError(f"{source} is a {kind}; a {option} ({value}) goes with {kinds}")
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
    """The model_index.json of a supported family, its components named as in packages."""
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
    """The family of an index that `_model_index` has checked."""
    family = family_by(model_index)
    assert family is not None
    return family


def _folders(model_index: Mapping[str, Any]) -> dict[str, str]:
    """Component that an export reads -> its folder."""
    family = _family(model_index)
    places = {component: place for place, component in _NAMES.get(family, {}).items()}
    return {
        component: places.get(component, component) for component in (*family.text_encoders, family.denoiser, "vae")
    }


def _check_whole(folder: Path, components: Mapping[str, Folder], source: object) -> None:
    for part in components.values():
        if not (part.path / "config.json").is_file():
            raise SourceError(f"{source} is not whole: it has no {part.path.name}/config.json")
