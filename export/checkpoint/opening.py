"""A folder, a hub id or a single file -> checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.runtime.errors import SourceError
from triptych.runtime.families.family import LATENT_DIFFUSION, Family, family_by

from ..sources import check_checkpoint, check_supported, read_model_index
from .checkpoint import Checkpoint
from .folder import Folder, no_variant
from .hub import fetch, fetch_components
from .prediction import Prediction, chosen, prediction_of, with_prediction
from .scheduler import read_scheduler, runnable
from .single_file import FilePart, configuration_of, pipeline_of
from .tensors import Tensors

_NAMES = {LATENT_DIFFUSION: {"bert": "text_encoder", "vqvae": "vae"}}
"""Family -> its names of components in checkpoints, where they differ, and those in packages."""


def open_checkpoint(
    source: str | Path,
    revision: str | None = None,
    *,
    variant: str | None = None,
    config: str | Path | None = None,
    prediction_type: str | None = None,
    without: Sequence[str] = (),
) -> Checkpoint:
    """Open a diffusers folder, a single file, or a hub id, of which the files that an export needs are downloaded.

    Args:
        source: the folder, the .safetensors file, or the hub id.
        revision: branch, tag or commit of a hub id; None is its main branch.
        variant: of the weights in a folder or hub id, such as fp16; None is the plain ones.
        config: configuration of a single file: a diffusers folder, or the name of one of `single_file.CONFIGURATIONS`;
            None detects it.
        prediction_type: of the model, one of `arguments.PREDICTION_TYPES`; None is what the source states.
        without: names of text encoders to leave out.

    Raises:
        SourceError: nothing there, no network, no checkpoint, or of a family that is not supported.
    """
    check_checkpoint(source, revision=revision, variant=variant, config=config)
    path = Path(source)
    if path.is_file():
        return _open_file(path, config, prediction_type, without)
    if not path.exists():
        folder = fetch(str(source), revision, ["model_index.json"])
        model_index = _left_out(_model_index(folder, source), without, source)
        folder = fetch_components(str(source), folder.name, list(_folders(model_index).values()), variant)
        name, commit = str(source), folder.name  # the hub's cache has a folder for each commit
    else:
        folder, name, commit = path, path.resolve().name, None
        model_index = _left_out(_model_index(folder, source), without, source)
    parts = {component: Folder(folder / place, name, variant) for component, place in _folders(model_index).items()}
    _check_whole(folder, parts, source)
    if variant is not None and not any(part.has(variant) for part in parts.values()):
        raise no_variant(name, variant, [str(file) for part in parts.values() for file in part.path.iterdir()])
    scheduler = read_scheduler(folder, model_index, name)
    prediction = chosen(name, Prediction(scheduler.get("prediction_type")), prediction_type)
    scheduler = runnable(with_prediction(scheduler, prediction), _family(model_index), name)
    details = {"variant": variant, "prediction_type": prediction_type, "without": list(without) or None}
    known = {key: value for key, value in details.items() if value is not None}
    return Checkpoint(folder, name, commit, model_index, scheduler, parts, known)


def _open_file(
    file: Path, config: str | Path | None, prediction_type: str | None, without: Sequence[str]
) -> Checkpoint:
    tensors = Tensors(file)
    prediction = prediction_of(tensors, prediction_type)
    folder = configuration_of(tensors, config, prediction.type)
    model_index = _model_index(folder, file.name if config is None else f"{file.name} with --config {config}")
    model_index["_class_name"] = pipeline_of(tensors, model_index["_class_name"])
    check_supported(model_index, file.name)
    model_index = _left_out(model_index, without, file.name)
    described = {component: Folder(folder / component, file.name) for component in _folders(model_index)}
    _check_whole(folder, described, folder)
    parts = {component: FilePart(tensors, component, part) for component, part in described.items()}
    scheduler = with_prediction(read_scheduler(folder, model_index, file.name), prediction)
    details = {"configuration": folder.name} | ({} if prediction.type is None else {"prediction_type": prediction.type})
    scheduler = runnable(scheduler, _family(model_index), file.name)
    return Checkpoint(folder, file.name, None, model_index, scheduler, parts, details, file=file)


def _model_index(folder: Path, source: object) -> dict[str, Any]:
    """The model_index.json of a supported family, its components named as in packages."""
    model_index = read_model_index(folder, source)
    names = _NAMES.get(_family(model_index), {})
    return {names.get(key, key): value for key, value in model_index.items()}


def _left_out(model_index: Mapping[str, Any], names: Sequence[str], source: object) -> dict[str, Any]:
    """The index without optional text encoders of these names, and without their tokenizers.

    Raises:
        SourceError: it has none of a name.
    """
    encoders = {encoder.name: encoder for encoder in _family(model_index).encoders if encoder.optional}
    for name in names:
        if name not in encoders:
            raise SourceError(f"{source} has no {name} that can be left out; leave out --without {name}")
    folders = [folder for name in names for folder in (name, encoders[name].tokenizer)]
    return {**model_index, **{folder: [None, None] for folder in folders}}


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
