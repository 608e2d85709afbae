"""Open a checkpoint: a diffusers folder or a hub id, one component in memory at a time."""

import gc
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import load_file
from torch import nn

from triptych.runtime.errors import SourceError, nearest
from triptych.runtime.families import FAMILIES, Family

if TYPE_CHECKING:
    from .embeddings import Embedding

PIPELINES = {pipeline: family for family in FAMILIES for pipeline in family.pipelines}
"""`_class_name` in model_index.json of a checkpoint -> family."""

TINY = "AutoencoderTiny"
"""The class of autoencoders that are small enough to look at a picture while it is made (TAESD)."""

_PREVIEW = "preview_decoder"
_STEMS = ("model", "diffusion_pytorch_model", "pytorch_model")
# Old CLIP checkpoints store the positions 0..76, which the module makes itself.
_MADE_BY_THE_MODULE = ("position_ids",)


@dataclass(frozen=True)
class Checkpoint:
    """A diffusers folder on disk. `name` and `revision` say where it came from, without this machine's paths.

    `preview_decoder` is the folder of an `AutoencoderTiny` that goes with it, as component of that name. `embeddings`
    and `clip_skip` are what is changed about its text encoders: see `export.embeddings`.
    """

    path: Path
    name: str
    revision: str | None
    model_index: Mapping[str, Any]
    preview_decoder: Path | None = None
    embeddings: tuple["Embedding", ...] = ()
    clip_skip: int = 0

    @property
    def family(self) -> Family:
        """Which family of models it belongs to."""
        return PIPELINES[self.model_index["_class_name"]]

    def config(self, component: str) -> dict[str, Any]:
        """The component's config.json, less the place that it was once saved from."""
        config = _read_json(self._folder(component) / "config.json")
        return {key: value for key, value in config.items() if key != "_name_or_path"}

    def weights_bytes(self) -> int:
        """Bytes of the weights files that an export reads."""
        return sum(file.stat().st_size for name in _folders(self.family) for file in self._weights_files(name))

    def load(self, component: str, build: Callable[[], nn.Module]) -> nn.Module:
        """Build a component's module without weights, then give it its own, in float32, for inference.

        Weights in float32 safetensors are mapped from the file, not copied, so that the peak is one set of weights.

        Raises:
            SourceError: weights are missing, broken, unknown to the module, or of other shapes.
        """
        with _parameters_on_meta():
            module = build()
        weights: dict[str, torch.Tensor] = {}
        for file in self._weights_files(component):
            weights |= _read_weights(file)
        if hasattr(module, "_fix_state_dict_keys_on_load"):  # attention blocks of VAEs from before 2023
            cast(Any, module)._fix_state_dict_keys_on_load(weights)
        weights = _as_this_transformers_has_it(weights, module)
        try:
            found = module.load_state_dict(weights, strict=False, assign=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise SourceError(f"{self.name}: the weights of {component} do not fit its config.json: {reason}") from None
        unknown = [name for name in found.unexpected_keys if not name.endswith(_MADE_BY_THE_MODULE)]
        for problem, names in (("lacks", found.missing_keys), ("has unknown", unknown)):
            if names:
                raise SourceError(f"{self.name}: {component} {problem} weights, {len(names)} of them, first {names[0]}")
        return module.requires_grad_(False).eval()

    def _folder(self, component: str) -> Path:
        return self.preview_decoder if component == _PREVIEW and self.preview_decoder else self.path / component

    def _weights_files(self, component: str) -> list[Path]:
        """The component's weights: one file, or the shards that its index lists; safetensors before pickles."""
        folder = self._folder(component)
        for suffix in ("safetensors", "bin"):
            for stem in _STEMS:
                if (folder / f"{stem}.{suffix}").is_file():
                    return [folder / f"{stem}.{suffix}"]
                index = folder / f"{stem}.{suffix}.index.json"
                if index.is_file():
                    return [folder / shard for shard in sorted(set(_read_json(index)["weight_map"].values()))]
        names = ", ".join(sorted(file.name for file in folder.glob("*"))) or "nothing"
        raise SourceError(f"{self.name} has no weights for {component}: no .safetensors or .bin file among {names}")


def open_checkpoint(source: str | Path, revision: str | None = None) -> Checkpoint:
    """Open a diffusers folder, or download what an export needs of a hub id at `revision` (None: its main branch).

    Raises:
        SourceError: nothing there, no network, not a diffusers folder, or of a family that is not supported.
    """
    folder, commit = Path(source), None
    if folder.is_dir():
        if revision is not None:
            raise SourceError(f"{source} is a folder; a revision ({revision}) goes with a hub id")
        name = folder.resolve().name
    elif str(source).count("/") == 1 and not str(source).startswith((".", "/", "~")):
        name = str(source)
        folder = _download(name, revision)
        commit = folder.name  # the hub's cache has a folder for each commit
    else:
        raise SourceError(f"{source} is neither a folder nor a hub id (owner/name)")
    if not (folder / "model_index.json").is_file():
        raise SourceError(f"{source} is no diffusers checkpoint: it has no model_index.json")
    model_index = _read_json(folder / "model_index.json")
    pipeline = str(model_index.get("_class_name"))
    if pipeline not in PIPELINES:
        raise SourceError(f"{source} is a {pipeline}, which is not supported; {nearest(pipeline, PIPELINES)}")
    if model_index.get("requires_aesthetics_score"):
        raise SourceError(f"{source} is the refiner of SDXL, which is not supported; give the base model")
    for component in _folders(PIPELINES[pipeline]):
        if not (folder / component / "config.json").is_file():
            raise SourceError(f"{source} is not whole: it has no {component}/config.json")
    return Checkpoint(folder, name, commit, model_index)


def with_preview_decoder(checkpoint: Checkpoint, source: str | Path) -> Checkpoint:
    """The checkpoint with a tiny decoder for previews, from the folder or hub id of an `AutoencoderTiny`.

    Raises:
        SourceError: nothing there, no network, another kind of model, or one for latents with other channels.
    """
    folder = Path(source)
    if not folder.is_dir():
        folder = _fetch(str(source), None, wanted=["config.json", "*.safetensors"])
    if not (folder / "config.json").is_file():
        raise SourceError(f"{source} is no decoder: it has no config.json")
    config, own = _read_json(folder / "config.json"), checkpoint.config("vae")
    if config.get("_class_name") != TINY:
        raise SourceError(f"{source} is a {config.get('_class_name')}; for previews, give an {TINY}")
    given, wanted = config["latent_channels"], own["latent_channels"]
    if given != wanted:
        raise SourceError(f"{source} decodes latents of {given} channels; those of {checkpoint.name} have {wanted}")
    return replace(checkpoint, preview_decoder=folder)


def _fetch(hub_id: str, revision: str | None, *, wanted: list[str], others: list[str] | None = None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=wanted, ignore_patterns=others))
    except Exception as error:  # the hub's client raises its own, requests', httpx' and OSError
        reason = " ".join(str(error).split())
        raise SourceError(f"{hub_id} is no folder here and cannot be fetched from the hub: {reason}") from error


def _download(hub_id: str, revision: str | None) -> Path:
    folder = _fetch(hub_id, revision, wanted=["model_index.json", "scheduler/*", "tokenizer*/*", "*/config.json"])
    family = PIPELINES.get(str(_read_json(folder / "model_index.json").get("_class_name")))
    names = [] if family is None else _folders(family)
    for suffix in ("safetensors", "bin") if names else ():
        wanted = [f"{name}/{stem}*{suffix}*" for name in names for stem in _STEMS]
        # variants such as model.fp16.safetensors are other weights than the ones asked for
        folder = _fetch(hub_id, revision, wanted=wanted, others=["*.fp16.*", "*.non_ema.*", "*.msgpack"])
        if all(list((folder / name).glob(f"*.{suffix}*")) for name in names):
            break
    return folder


def _folders(family: Family) -> tuple[str, ...]:
    """The folders of a checkpoint that hold weights."""
    return (*family.text_encoders, family.generator, "vae")


def _read_weights(file: Path) -> dict[str, torch.Tensor]:
    try:
        if file.suffix == ".safetensors":
            weights = load_file(file)
        else:
            weights = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # safetensors, pickle, zipfile and OSError
        raise SourceError(f"{file.parent.name}/{file.name} cannot be read: {' '.join(str(error).split())}") from None
    return {
        name: weight.float() if weight.is_floating_point() else weight  # a copy only where it is not float32
        for name, weight in weights.items()
    }


def _as_this_transformers_has_it(weights: dict[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """CLIP's text model has its parts under `text_model.` in transformers 4 and most files, bare in transformers 5.

    In the model with a projection they are under `text_model.` in all of them.
    """
    prefix, expected = "text_model.", module.state_dict().keys()

    def own(name: str) -> str:
        others = (name.removeprefix(prefix), prefix + name)
        return next((other for other in (name, *others) if other in expected), name)

    return {own(name): weight for name, weight in weights.items()}


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Modules made inside get parameters without memory or initial values, and real buffers."""
    register = nn.Module.register_parameter

    def register_on_meta(self: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        register(self, name, parameter)

    nn.Module.register_parameter = register_on_meta  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
        gc.collect()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SourceError(f"{path.parent.name}/{path.name} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise SourceError(f"{path.parent.name}/{path.name} should hold a JSON object, not a {type(value).__name__}")
    return value
