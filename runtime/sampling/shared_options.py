"""Options that several schedulers of diffusers have in common.

A scheduler's class derives from the groups that it has, the most special first, and last from one that derives from
`Options`. The groups themselves do not: to a dataclass, inherited fields count as its own, and a group's would hide
those of a later base.
"""

from dataclasses import dataclass

from .options import absent, choice, flag, number, numbers, optional_number, whole

SPACINGS = ("leading", "linspace", "trailing")


@dataclass(frozen=True)
class Options:
    """Base of every scheduler's options: values that shared code reads, for schedulers that have no such option."""

    thresholding: bool = absent(False)
    dynamic_thresholding_ratio: float = absent(0.995)
    sample_max_value: float = absent(1.0)
    clip_sample: bool = absent(False)
    clip_sample_range: float = absent(1.0)
    use_dynamic_shifting: bool = absent(False)
    time_shift_type: str = absent("exponential")
    use_karras_sigmas: bool = absent(False)
    use_exponential_sigmas: bool = absent(False)
    use_beta_sigmas: bool = absent(False)
    sigma_min: float | None = absent(None)
    sigma_max: float | None = absent(None)
    num_train_timesteps: int = whole(1000, least=1)


@dataclass(frozen=True)
class TrainingOptions(Options):
    """The noise schedule that the denoiser was trained on."""

    num_train_timesteps: int = whole(1000, least=2)
    beta_start: float = number(0.0001, least=0)
    beta_end: float = number(0.02, least=0)
    beta_schedule: str = choice("linear", "scaled_linear", "squaredcos_cap_v2")
    trained_betas: list[float] | None = numbers()
    rescale_betas_zero_snr: bool = absent(False)


@dataclass(frozen=True)
class ThresholdingOptions:
    """Dynamic thresholding of x0 (Saharia et al. 2022)."""

    thresholding: bool = flag(False)
    dynamic_thresholding_ratio: float = number(0.995, least=0, most=1)
    sample_max_value: float = number(1.0, least=0)


@dataclass(frozen=True)
class LevelShapeOptions:
    """Noise levels of another shape than those of the timestep spacing.

    Some of diffusers' classes do not declare sigma_min and sigma_max, but all of them read both from a configuration.
    """

    use_karras_sigmas: bool = flag(False)
    use_exponential_sigmas: bool = flag(False)
    use_beta_sigmas: bool = flag(False)
    sigma_min: float | None = optional_number()
    sigma_max: float | None = optional_number()


@dataclass(frozen=True)
class SpacingOptions:
    """Timesteps of a run among those of the training (Lin et al. 2023, table 2)."""

    timestep_spacing: str = choice(*SPACINGS)
    steps_offset: int = whole(0)


@dataclass(frozen=True)
class ShiftingOptions:
    """The shift of flow matching by the size of the image, which a run states as mu."""

    use_dynamic_shifting: bool = flag(False)
    time_shift_type: str = choice("exponential", "linear")


@dataclass(frozen=True)
class ClippingOptions:
    """Clipping of x0 to a range around 0."""

    clip_sample: bool = flag(True)
    clip_sample_range: float = number(1.0, least=0)
