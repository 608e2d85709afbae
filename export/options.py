"""Options of an export: precision, operator set and shapes, checked together before a checkpoint is opened."""

from dataclasses import dataclass, replace

from .checkpoint import Checkpoint
from .components import StaticShape, own_size
from .dialects import Dialect, default_dialect, dialect_named
from .precision import Precision, precision_named
from .quantization.calibration import CalibrationRun
from .quantization.plan import quantizable_dialect

GUIDED = 2
"""Rows of the U-Net for one image with guidance."""


@dataclass(frozen=True)
class Options:
    """Checked options of an export.

    Attributes:
        precision: of the graphs.
        dialect: operator set of the graphs, as the precision needs it.
        static: sizes of graphs of fixed shapes; None leaves batch, height and width open.
        calibration: the run that int8 is calibrated on.
        allow_low_quality: publish a package in int8 whose images are below the floor.
    """

    precision: Precision
    dialect: Dialect
    static: StaticShape | None
    calibration: CalibrationRun
    allow_low_quality: bool

    def for_checkpoint(self, checkpoint: Checkpoint) -> "Options":
        """The options with the checkpoint's own size where the operator set has fixed shapes only."""
        if self.static is None and self.dialect.fixed:
            return replace(self, static=StaticShape(GUIDED, *own_size(checkpoint)))
        return self


def checked_options(
    precision: str,
    dialect: str | None,
    static: tuple[int, int, int] | None,
    calibration: CalibrationRun | None,
    allow_low_quality: bool,
) -> Options:
    """Options from the arguments of `export`.

    Raises:
        ArgumentError: an unknown precision or operator set, or options that do not go together.
    """
    chosen = precision_named(precision)
    operators = default_dialect(precision) if dialect is None else dialect_named(dialect)
    return Options(
        precision=chosen,
        dialect=quantizable_dialect(operators) if chosen.quantized else operators,
        static=None if static is None else StaticShape(*static),
        calibration=calibration or CalibrationRun(),
        allow_low_quality=allow_low_quality,
    )
