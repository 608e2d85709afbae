"""A checkpoint: components, each from its own place, loaded one at a time."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from triptych.runtime.families.family import Family, family_by

from ..files import sha256_of
from .embeddings import Embedding
from .folder import Part
from .loading import load_module
from .lora import Lora
from .vocabulary import with_vocabulary

TINY = "AutoencoderTiny"
"""The class of autoencoders that are small enough to look at a picture while it is made (TAESD)."""

FULL, QUANTIZED = "AutoencoderKL", "VQModel"
"""The class of those that most models have, and of those whose latents are taken from a book of codes."""

PREVIEW = "preview_decoder"
"""The component that decodes previews."""


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
    embeddings: tuple[Embedding, ...] = ()
    clip_skip: int = 0

    @property
    def family(self) -> Family:
        """Which family of models it belongs to."""
        family = family_by(self.model_index)
        assert family is not None  # `open_checkpoint` has checked it
        return family

    @property
    def preview_decoder(self) -> Part | None:
        """The `AutoencoderTiny` that goes with it, as component of that name, if any."""
        return self.parts.get(PREVIEW)

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
