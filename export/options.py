"""Options of an export: precision, operator set and shapes, checked together before a checkpoint is opened."""

from dataclasses import dataclass, replace

from triptych.runtime.errors import SamplerError, SourceError, nearest
from triptych.runtime.families.latents import ANY_TOKENS
from triptych.runtime.package.defaults import UPSCALING
from triptych.runtime.sampling import Sampler

from .checkpoint import Checkpoint
from .components import StaticShape, own_size, side_multiple
from .defaults import StatedDefaults
from .dialects import Dialect, default_dialect, dialect_named
from .precision import Precision, precision_named
from .quantization.calibration import CalibrationRun
from .quantization.plan import quantizable_dialect

GUIDED = 2
"""Rows of the denoiser for one image with guidance."""


@dataclass(frozen=True)
class Options:
    """Checked options of an export.

    Attributes:
        precision: of the graphs.
        dialect: operator set of the graphs, as the precision needs it.
        static: sizes of graphs of fixed shapes; None leaves batch, height and width open.
        calibration: the run that int8 is calibrated on.
        allow_low_quality: publish a package in int8 whose images are below the floor.
        stated: defaults of the package, and its card.
    """

    precision: Precision
    dialect: Dialect
    static: StaticShape | None
    calibration: CalibrationRun
    allow_low_quality: bool
    stated: StatedDefaults

    def for_checkpoint(self, checkpoint: Checkpoint) -> "Options":
        """The options with the checkpoint's own size where the operator set has fixed shapes only.

        Raises:
            SourceError: defaults that this checkpoint cannot use.
        """
        static = self.static
        if static is None and self.dialect.fixed:
            static = StaticShape(GUIDED, *own_size(checkpoint))
        return replace(self, static=static, stated=_fitting(self.stated, checkpoint, static))


def checked_options(
    precision: str,
    dialect: str | None,
    static: tuple[int, int, int] | None,
    calibration: CalibrationRun | None,
    allow_low_quality: bool,
    stated: StatedDefaults = StatedDefaults(),  # noqa: B008  # frozen
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
        stated=stated,
    )


def _fitting(stated: StatedDefaults, checkpoint: Checkpoint, static: StaticShape | None) -> StatedDefaults:
    """Defaults, checked against a checkpoint; without a size where the graphs have one of their own.

    Raises:
        SourceError: a task, size, scheduler, option or number of steps that the checkpoint does not take.
    """
    if not stated.defaults.arguments() and not stated.defaults.tasks:
        return stated
    defaults, family, multiple = stated.defaults, checkpoint.family, side_multiple(checkpoint)
    tasks = [*(task.replace(" ", "-") for task in family.tasks), UPSCALING]
    for task in defaults.tasks:
        if task not in tasks:
            raise SourceError(f"defaults: tasks has {task}, which {family.name} does not do; {nearest(task, tasks)}")
    for name, pixels in (("width", defaults.width), ("height", defaults.height)):
        if pixels is not None and pixels % multiple:
            raise SourceError(f"defaults: {name}={pixels}; allowed: multiples of {multiple}")
    steps = family.num_inference_steps if defaults.num_inference_steps is None else defaults.num_inference_steps
    try:
        config = family.scheduler_config(checkpoint.scheduler, defaults.scheduler, defaults.scheduler_options)
        Sampler.from_config(config, steps, mu=family.latents.mu_for(config, ANY_TOKENS))
    except SamplerError as error:
        raise SourceError(f"defaults: {error}") from None
    return stated if static is None else replace(stated, defaults=replace(defaults, width=None, height=None))
