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
"""Class of autoencoders that are small enough to preview an image while it is denoised (TAESD)."""

FULL, QUANTIZED = "AutoencoderKL", "VQModel"
"""Classes of autoencoders: that of most models, and that whose latents come from a codebook."""

PREVIEW = "preview_decoder"
"""The component that decodes previews."""


@dataclass(frozen=True)
class Checkpoint:
    """Components, each from its own place, the scheduler, and the folder with the tokenizers.

    Attributes:
        path: folder with the tokenizers.
        name: of the checkpoint in messages and manifests, without this machine's paths.
        revision: commit of a hub id.
        model_index: model_index.json.
        scheduler: scheduler_config.json, as the runtime runs it.
        parts: component -> its weights and configuration.
        details: further facts about the source for the manifest: variant, another VAE, LoRAs, learned words.
        loras: LoRAs to fuse into the weights.
        file: single file that all weights are in, if it is one.
        embeddings: learned words, and
        clip_skip: number of last layers to leave out of the text encoders, see `text_encoders`.
    """

    path: Path
    name: str
    revision: str | None
    model_index: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    parts: Mapping[str, Part]
    details: Mapping[str, Any] = field(default_factory=dict)
    loras: tuple[Lora, ...] = ()
    file: Path | None = None
    embeddings: tuple[Embedding, ...] = ()
    clip_skip: int = 0

    @property
    def family(self) -> Family:
        """The family that the checkpoint belongs to."""
        family = family_by(self.model_index)
        assert family is not None  # `open_checkpoint` has checked it
        return family

    @property
    def preview_decoder(self) -> Part | None:
        """The `AutoencoderTiny` for previews, if any."""
        return self.parts.get(PREVIEW)

    def source(self) -> dict[str, Any]:
        """The source as manifests record it; of a single file with its digest, which community sites list."""
        digest = {} if self.file is None else {"sha256": sha256_of(self.file)}
        return {"name": self.name, "revision": self.revision, **digest, **self.details}

    def config(self, component: str) -> dict[str, Any]:
        """The component's config.json, without the path that it was saved from."""
        return self.parts[component].config()

    def weights_bytes(self) -> int:
        """Size in bytes of the weights that an export reads.

        Raises:
            SourceError: a component has none.
        """
        return sum(part.weights_bytes() for part in self.parts.values())

    def load(self, component: str, build: Callable[[], nn.Module]) -> nn.Module:
        """Build a component's module and load its weights, LoRAs fused, for inference.

        Weights keep the dtypes of the files, or are float32 where a LoRA was fused.

        Raises:
            SourceError: weights are missing, broken, unknown to the module, or of other shapes; a LoRA does not fit.
        """
        module = load_module(f"{self.name}: {component}", self.parts[component], build)
        for lora in self.loras:
            lora.fuse(component, module)
        return module

    def tokenizer(self, name: str = "tokenizer") -> AbstractContextManager[Path]:
        """The folder of a tokenizer; that of a single file is completed with CLIP's vocabulary."""
        folder = self.path / name
        return nullcontext(folder) if self.file is None else with_vocabulary(folder)
