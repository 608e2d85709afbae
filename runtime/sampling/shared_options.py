"""Options that several schedulers of diffusers have in common.

A scheduler's class derives from the groups that it has, the most special first.
"""

from .options import OptionGroup, choice, flag, number, numbers, optional_number, whole

SPACINGS = ("leading", "linspace", "trailing")


class Options(OptionGroup):
    """Base of every scheduler's options, with constants for those that only some have."""

    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    sample_max_value: float = 1.0
    clip_sample: bool = False
    clip_sample_range: float = 1.0
    use_dynamic_shifting: bool = False
    time_shift_type: str = "exponential"
    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    use_beta_sigmas: bool = False
    sigma_min: float | None = None
    sigma_max: float | None = None
    num_train_timesteps: int = whole(1000, least=1)


class TrainingOptions(Options):
    """The noise schedule that the denoiser was trained on."""

    num_train_timesteps: int = whole(1000, least=2)
    beta_start: float = number(0.0001, least=0)
    beta_end: float = number(0.02, least=0)
    beta_schedule: str = choice("linear", "scaled_linear", "squaredcos_cap_v2")
    trained_betas: list[float] | None = numbers()
    rescale_betas_zero_snr: bool = False


class ThresholdingOptions(OptionGroup):
    """Dynamic thresholding of x0 (Saharia et al. 2022)."""

    thresholding: bool = flag(False)
    dynamic_thresholding_ratio: float = number(0.995, least=0, most=1)
    sample_max_value: float = number(1.0, least=0)


class LevelShapeOptions(OptionGroup):
    """Noise levels of another shape than those of the timestep spacing.

    Some of diffusers' classes do not declare sigma_min and sigma_max, but all of them read both from a configuration.
    """

    use_karras_sigmas: bool = flag(False)
    use_exponential_sigmas: bool = flag(False)
    use_beta_sigmas: bool = flag(False)
    sigma_min: float | None = optional_number()
    sigma_max: float | None = optional_number()


class SpacingOptions(OptionGroup):
    """Timesteps of a run among those of the training (Lin et al. 2023, table 2)."""

    timestep_spacing: str = choice(*SPACINGS)
    steps_offset: int = whole(0)


class ShiftingOptions(OptionGroup):
    """The shift of flow matching by the size of the image, which a run states as mu."""

    use_dynamic_shifting: bool = flag(False)
    time_shift_type: str = choice("exponential", "linear")


class TokenShiftOptions(OptionGroup):
    """The line from the tokens of an image to mu, through two of its points."""

    base_shift: float = number(0.5)
    max_shift: float = number(1.15)
    base_image_seq_len: int = whole(256, least=1)
    max_image_seq_len: int = whole(4096, least=1)


class ClippingOptions(OptionGroup):
    """Clipping of x0 to a range around 0."""

    clip_sample: bool = flag(True)
    clip_sample_range: float = number(1.0, least=0)
