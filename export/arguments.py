"""Arguments of an export, checked in milliseconds: before PyTorch is imported, and before weights are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.runtime.errors import ArgumentError, lookup
from triptych.runtime.families.family import FAMILIES

from .defaults import stated_defaults
from .publish import check_destination
from .sources import check_checkpoint, check_file, check_source, embedding_file

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
"""Outputs of a U-Net, as diffusers names them."""

PRECISIONS = ("fp32", "fp16", "int8", "w8", "w4")

DIALECTS = {"portable": PRECISIONS, "cpu": ("fp32", "int8", "w8", "w4"), "cuda": ("fp32", "fp16")}
"""Operator set -> the precisions that it has operators in."""

OPTIONAL = tuple(dict.fromkeys(encoder.name for family in FAMILIES for encoder in family.encoders if encoder.optional))
"""Text encoders that an export may leave out."""

_CALIBRATED = "int8"


@dataclass(frozen=True)
class Arguments:
    """Arguments of `export`, see there."""

    source: str | Path
    package: str | Path
    precision: str = "fp32"
    dialect: str | None = None
    static: tuple[int, int, int] | None = None
    force: bool = False
    revision: str | None = None
    variant: str | None = None
    config: str | Path | None = None
    prediction_type: str | None = None
    vae: str | Path | None = None
    loras: Sequence[tuple[str | Path, float]] = ()
    preview_decoder: str | Path | None = None
    embeddings: Sequence[str | Path] = ()
    clip_skip: int = 0
    calibrated: bool = False
    allow_low_quality: bool = False
    defaults: str | Path | None = None
    without: Sequence[str] = ()

    def check(self) -> None:
        """Check whatever needs neither PyTorch nor the network.

        Raises:
            ArgumentError: a value that is not allowed, or values that do not go together.
            SourceError: a source that is not there or cannot be read.
            TriptychError: the destination cannot be written.
        """
        self._check_options()
        self._check_sources()
        check_destination(Path(self.package), force=self.force)

    def _check_options(self) -> None:
        lookup(dict.fromkeys(PRECISIONS), self.precision, "precision")
        if self.dialect is not None:
            check_dialect(self.dialect, self.precision)
        for given, name in ((self.calibrated, "a calibration"), (self.allow_low_quality, "allow_low_quality")):
            if given and self.precision != _CALIBRATED:
                raise ArgumentError(f"{name} is for precision {_CALIBRATED}, not {self.precision}")
        if self.prediction_type not in (None, *PREDICTION_TYPES):
            raise ArgumentError(f"prediction_type={self.prediction_type!r}; allowed: {', '.join(PREDICTION_TYPES)}")
        if not _is_whole(self.clip_skip):
            raise ArgumentError(f"clip_skip={self.clip_skip!r}; allowed: whole numbers from 0")
        for name in self.without:
            if name not in OPTIONAL:
                raise ArgumentError(f"without={name!r}; allowed: {', '.join(OPTIONAL)}")
        if self.static is not None and not (len(self.static) == 3 and all(map(_is_whole, self.static))):
            raise ArgumentError(f"static={self.static!r}; allowed: batch, height and width, whole numbers")
        for source, weight in self.loras:
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not abs(weight) < float("inf"):
                raise ArgumentError(f"the LoRA {source} has weight {weight!r}; allowed: finite numbers")

    def _check_sources(self) -> None:
        check_checkpoint(self.source, revision=self.revision, variant=self.variant, config=self.config)
        for lora, _ in self.loras:
            check_source(lora, "the LoRA ")
        for source in (self.vae, self.preview_decoder):
            if source is not None:
                check_source(source, "")
        stated_defaults(self.source, self.defaults)
        for embedding in self.embeddings:
            check_file(embedding_file(str(embedding))[0])


def check_dialect(name: str, precision: str) -> None:
    """Check that an operator set exists, and has operators in a precision.

    Raises:
        ArgumentError: it does not, or has none.
    """
    precisions = lookup(DIALECTS, name, "operator set")
    if precision not in precisions:
        raise ArgumentError(
            f"operator set {name} has no operators in {precision}; allowed: {', '.join(precisions)}, or "
            f"--dialect portable with {precision}"
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
