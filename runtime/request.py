"""Arguments of an image: type, default, check and documentation of each, in one place."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np

from . import plain
from .errors import ArgumentError, shown

if TYPE_CHECKING:
    from PIL.Image import Image

SEED_LIMIT = 2**64
MAX_COUNT = 10_000
"""Images of a call."""
MAX_PIXELS = 1_000_000
MAX_TEXT = 100_000
"""Characters of a text, a thousand chunks and more."""
LARGEST = 1e6
"""Magnitude of a number that is multiplied with latents: far above useful ones, far below float32's overflow."""
_DRAWN_SEED_BYTES = 4  # a seed that a person can copy by hand

OneImage = Union["Image", np.ndarray, str, os.PathLike[str]]
"""A Pillow image, the path of an image file, or an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]: uint8, or floats in
0..1."""

Images = OneImage | Sequence[OneImage]
"""One image for all prompts, one for each prompt, or one for each image of the call. Or latents, float32 [n, C, h, w],
where n is any of these numbers."""


class Rule(NamedTuple):
    """Conversion of one argument to a plain value, which raises ValueError, and the description of allowed values."""

    convert: Callable[[Any], Any]
    allowed: str


def _between(low: float, high: float, convert: Callable[[Any], float] = plain.real) -> Callable[[Any], float]:
    """A conversion to a number from `low` to `high`."""

    def number(value: Any) -> float:
        converted = convert(value)
        if not low <= converted <= high:  # nor NaN
            raise ValueError
        return converted

    return number


_finite = _between(-LARGEST, LARGEST)
_seed = _between(0, SEED_LIMIT - 1, plain.whole)
_pixels = _between(0, MAX_PIXELS, plain.whole)


def _one_or_each(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A conversion of one value, or of a list of them."""
    return lambda value: [convert(each) for each in plain.listed(value)] if plain.is_listed(value) else convert(value)


def _interval(value: Any) -> list[float]:
    low, high = map(plain.real, plain.listed(value))
    if not (0 <= low < math.inf and low < high):  # high may be infinite, neither may be NaN
        raise ValueError
    return [low, high]


def _projection(value: Any) -> list[float]:
    eta, norm, momentum = map(_finite, plain.listed(value))
    if not (norm >= 0 and -1 < momentum < 1):
        raise ValueError
    return [eta, norm, momentum]


def _pair(value: Any) -> list[float]:
    first, second = map(_pixels, plain.listed(value))
    return [first, second]


def _grid(value: Any) -> str | list[float]:
    return plain.text(value) if isinstance(value, str) else [plain.real(each) for each in plain.listed(value)]


def _arrays(value: Any) -> dict[str, np.ndarray]:
    if not isinstance(value, Mapping):
        raise ValueError
    return {plain.text(name): plain.array(each) for name, each in value.items()}


_SIDE = Rule(_between(1, MAX_PIXELS, plain.whole), f"a whole number of pixels, 1 or more, to {MAX_PIXELS}")
_PAIR = Rule(_pair, f"two whole numbers of pixels, none below 0 or above {MAX_PIXELS}")
_SCORE = Rule(_finite, "a number, for example 6")
_SEEDS = Rule(_one_or_each(_seed), "a whole number from 0 to 2^64 - 1, or one for each image")
_SHARE = Rule(plain.real, "a number above 0, to 1")
_NAME = Rule(plain.text, "a name")
_GRID = Rule(_grid, "a list of numbers, or a name")
_OPTIONS = Rule(plain.json_object, "options of the scheduler by name, as in scheduler_config.json")
_ARRAY = Rule(plain.array, "an array of numbers [n, C, h, w]")
_ARRAYS = Rule(_arrays, "arrays of numbers by name")


def _argument(default: Any, convert: Callable[[Any], Any], allowed: str) -> Any:
    return field(default=default, metadata={"rule": Rule(convert, allowed)})


@dataclass(frozen=True, eq=False)
class Request:
    """The arguments of one call, checked as far as they can be without a package, and kept as plain values.

    Numbers and lists may be those of numpy or PyTorch. Whole numbers are those that count as such
    (`operator.index`): 64.0 and "64" are refused, as true and false are for every number.

    Defaults in the package's manifest have priority over those of diffusers and of the package's graphs.

    Attributes:
        prompt: one prompt or several, with weights and chunks as `triptych.runtime.text.prompt_syntax` reads them. All
            prompts of a call are padded to the longest.
        image: the image to start from, for all prompts or one for each; resized to `height` and `width`, which default
            to its own size. Or latents, float32 [n, C, h, w], for example `Output.latents`.
        mask_image: for inpainting, of the size of `image`; white where the image is redrawn, black where it stays.
        strength: share of the steps that are run on `image`, above 0, to 1; at 1 the whole image may change. Latent
            consistency models run all steps, from that share of the noise. None is the default of diffusers' pipelines.
        denoising_start: resume at this share of the training timesteps, above 0 and below 1, from `image`: latents that
            a run with `denoising_end` returned.
        denoising_end: stop at this share of the training timesteps, above 0, to 1; the latents are still noisy then,
            for another model to resume from.
        negative_prompt: negative prompt; one for all prompts, or one for each. None is the empty text, or for
            SDXL zeros in place of its embedding, if the checkpoint is configured so.
        prompt_2: prompt of the second text encoder; None is `prompt`.
        prompt_3: prompt of the third text encoder; None is `prompt`.
        negative_prompt_2: negative prompt of the second text encoder; None is `negative_prompt`.
        negative_prompt_3: negative prompt of the third text encoder; None is `negative_prompt`.
        num_inference_steps: steps of the scheduler; None is the default of diffusers' pipeline for this family.
        guidance_scale: classifier-free guidance; 1 or less turns it off and halves the cost. A list has one scale
            for each denoiser call. Latent consistency models take one number, at no cost. None is the default of
            diffusers' pipeline.
        guidance_rescale: share of the guided output that is rescaled to the standard deviation of the positive output,
            0 to 1 (Lin et al. 2023).
        guidance_interval: (low, high), the noise levels sigma / alpha between which guidance is applied; elsewhere a
            call costs half, except with graphs of a fixed batch (Kynkäänniemi et al. 2024).
        guidance_projection: `Projection` or (eta, norm_threshold, momentum): adaptive projected guidance (Sadat et al.
            2024).
        image_guidance_scale: for models that edit an image: how closely to follow it, 1 or more. None is the default of
            diffusers' pipeline.
        eta: share of new noise in each step, 0 to 1, for schedulers that take it (DDIM, TCD).
        timesteps: the timesteps in place of `num_inference_steps`: a decreasing list, or a name, see
            `Sampler.from_config`.
        sigmas: noise levels in place of `num_inference_steps`, as for `timesteps`.
        seed: image k of the call uses seed + k, alone or in a batch; a list has one seed for each image. None draws
            one, see `Output.seeds`.
        variation_seed: of the noise towards which `variation_strength` moves the starting noise; image k uses
            variation_seed + k while the seed is the same for all images, unless `seed` is a list. None draws one.
        variation_strength: position on the arc from the seed's starting noise to that of the variation seed, 0 to 1;
            at 0 the variation seed has no effect. More noise of stochastic schedulers is always the seed's.
        height, width: pixels; None is the package's own size.
        original_size, crops_coords_top_left, target_size: SDXL's micro-conditioning, (height, width) and (top, left) in
            pixels; None is the size of the image, and no crop.
        aesthetic_score, negative_aesthetic_score: micro-conditioning of SDXL's refiner, 0 to 10; None is 6 and 2.5.
        num_images_per_prompt: images for each prompt, next to each other in the output.
        scheduler: a scheduler in place of the package's, by short name, diffusers class name or a name of other tools,
            see `triptych.runtime.sampling.registry.find`.
        scheduler_options: options of the scheduler by name, as in scheduler_config.json, in place of its own.
        latents: the starting noise in place of the seed's, unit Gaussian float32 [n, C, h, w].
        prompt_embeds: conditioning in place of that of `prompt`, by the names of the denoiser's inputs:
            encoder_hidden_states, float32 [n, tokens, width], and for SDXL the pooled text_embeds [n, width]; see
            `TextToImage.encode`.
        negative_prompt_embeds: the same in place of that of `negative_prompt`, of as many tokens.
        noise: source of the seed's noise: torch (as PyTorch on CPU), torch_cuda or numpy.

    Raises:
        ArgumentError: a value that no package can use. `Sampler.from_config` checks the arguments of the scheduler, and
            `plan` those that depend on the package.
    """

    prompt: str | Sequence[str]
    image: Images | None = None
    mask_image: Images | None = None
    strength: float | None = _argument(None, *_SHARE)
    denoising_start: float | None = _argument(None, *_SHARE)
    denoising_end: float | None = _argument(None, *_SHARE)
    negative_prompt: str | Sequence[str] | None = None
    prompt_2: str | Sequence[str] | None = None
    prompt_3: str | Sequence[str] | None = None
    negative_prompt_2: str | Sequence[str] | None = None
    negative_prompt_3: str | Sequence[str] | None = None
    num_inference_steps: int | None = _argument(None, plain.whole, "a whole number, 1 or more")
    guidance_scale: float | Sequence[float] | None = _argument(
        None, _one_or_each(_finite), f"a number, or one for each denoiser call, none above {LARGEST:.0f}"
    )
    guidance_rescale: float = _argument(0.0, _between(0, 1), "a number from 0 to 1")
    guidance_interval: Sequence[float] | None = _argument(
        None, _interval, "two noise levels (low, high) with 0 <= low < high"
    )
    guidance_projection: Sequence[float] | None = _argument(
        None,
        _projection,
        "(eta, norm_threshold, momentum), the norm not below 0, the momentum above -1 and below 1",
    )
    image_guidance_scale: float | None = _argument(None, _between(1, LARGEST), "a number, 1 or more")
    eta: float = _argument(0.0, plain.real, "a number from 0 to 1")
    timesteps: Sequence[float] | str | None = _argument(None, *_GRID)
    sigmas: Sequence[float] | str | None = _argument(None, *_GRID)
    seed: int | Sequence[int] | None = _argument(None, *_SEEDS)
    variation_seed: int | Sequence[int] | None = _argument(None, *_SEEDS)
    variation_strength: float = _argument(0.0, _between(0, 1), "a number from 0 to 1")
    height: int | None = _argument(None, *_SIDE)
    width: int | None = _argument(None, *_SIDE)
    original_size: Sequence[int] | None = _argument(None, *_PAIR)
    crops_coords_top_left: Sequence[int] | None = _argument(None, *_PAIR)
    target_size: Sequence[int] | None = _argument(None, *_PAIR)
    aesthetic_score: float | None = _argument(None, *_SCORE)
    negative_aesthetic_score: float | None = _argument(None, *_SCORE)
    num_images_per_prompt: int = _argument(
        1, _between(1, MAX_COUNT, plain.whole), f"a whole number, 1 or more, to {MAX_COUNT}"
    )
    scheduler: str | None = _argument(None, *_NAME)
    scheduler_options: Mapping[str, Any] | None = _argument(None, *_OPTIONS)
    latents: np.ndarray | None = field(default=None, metadata={"rule": _ARRAY})
    prompt_embeds: Mapping[str, np.ndarray] | None = _argument(None, *_ARRAYS)
    negative_prompt_embeds: Mapping[str, np.ndarray] | None = _argument(None, *_ARRAYS)
    noise: str = _argument("torch", *_NAME)

    def __post_init__(self) -> None:
        for name in RULES:
            object.__setattr__(self, name, check(name, getattr(self, name)))
        for name in Texts._fields:
            object.__setattr__(self, name, _plain_texts(name, getattr(self, name)))
        self.texts()

    @property
    def prompts(self) -> int:
        """Number of prompts."""
        return 1 if isinstance(self.prompt, str) else len(self.prompt)

    @property
    def count(self) -> int:
        """Number of images."""
        return self.prompts * self.num_images_per_prompt

    def texts(self) -> "list[Texts]":
        """The texts of each image, those of one prompt next to each other.

        Raises:
            ArgumentError: no prompts, a value that is not text, or neither one text for all prompts nor one for each.
        """
        columns = {name: _column(getattr(self, name)) for name in Texts._fields}
        prompts = columns["prompt"]
        if prompts == [None]:
            raise ArgumentError("no prompt: give a text")
        if not prompts:
            raise ArgumentError("no prompt: the list of prompts is empty")
        if self.count > MAX_COUNT:
            raise ArgumentError(f"{self.count} images in one call; allowed: {MAX_COUNT}")
        for name, column in columns.items():
            if isinstance(getattr(self, name), str | None):
                columns[name] = column * len(prompts)
            elif len(column) != len(prompts):
                raise ArgumentError(
                    f"{name} has {len(column)} texts for {len(prompts)} prompts; allowed: one for all, or one for each"
                )
        rows = [Texts(*row) for row in zip(*columns.values(), strict=True)]
        return [row for row in rows for _ in range(self.num_images_per_prompt)]

    def seeds(self) -> list[int]:
        """A seed for each image, the same one for variations; without `seed` they are drawn again in each call.

        Raises:
            ArgumentError: a list of another length.
        """
        if self.variation_strength > 0 and not isinstance(self.seed, list):
            return seeds_from(self.seed, 1) * self.count
        return seeds_from(self.seed, self.count)

    def variation_seeds(self) -> list[int] | None:
        """A variation seed for each image; None where the starting noise is not varied.

        Raises:
            ArgumentError: a list of another length.
        """
        if self.variation_strength == 0:
            return None
        return seeds_from(self.variation_seed, self.count, "variation_seed")


class Texts(NamedTuple):
    """The texts of one image, named as the arguments; None for missing texts."""

    prompt: str
    prompt_2: str | None
    prompt_3: str | None
    negative_prompt: str | None
    negative_prompt_2: str | None
    negative_prompt_3: str | None

    def positive(self, encoders: int) -> tuple[str, ...]:
        """A prompt for each text encoder: `prompt` unless it has its own."""
        return _each(self.prompt, (self.prompt_2, self.prompt_3), encoders)

    def negative(self, encoders: int) -> tuple[str, ...] | None:
        """A negative prompt for each text encoder; None without any negative prompt."""
        others = self.negative_prompt_2, self.negative_prompt_3
        if self.negative_prompt is None and others == (None, None):
            return None
        return _each(self.negative_prompt or "", others, encoders)


FIELDS = tuple(each.name for each in fields(Request))
"""Names of all arguments; the tables of settings, batch columns, command options and HTTP fields are checked
against them."""

RULES: dict[str, Rule] = {each.name: each.metadata["rule"] for each in fields(Request) if "rule" in each.metadata}
"""Name of an argument -> its check."""

_REQUIRED = {each.name for each in fields(Request) if each.default is not None}


def check(name: str, value: Any) -> Any:
    """Convert one argument to a plain value by its rule; None is allowed where it is the default.

    Raises:
        ArgumentError: the value is not allowed.
    """
    return None if value is None and name not in _REQUIRED else require(name, value)


def require(name: str, value: Any) -> Any:
    """Convert one argument to a plain value by its rule; None is not allowed.

    Raises:
        ArgumentError: the value is not allowed.
    """
    try:
        return RULES[name].convert(value)
    except ValueError:
        raise ArgumentError(f"{name}={shown(value)}; allowed: {RULES[name].allowed}") from None


def check_latents(latents: np.ndarray, shape: tuple[int, ...], name: str = "latents") -> np.ndarray:
    """Latents of the caller as float32.

    Raises:
        ArgumentError: another shape, NaN or infinity.
    """
    if latents.shape != shape:
        raise ArgumentError(f"{name} have shape {list(latents.shape)}; these prompts and this size need {list(shape)}")
    converted = plain.array(latents)
    if not np.isfinite(converted).all():
        raise ArgumentError(f"{name} hold NaN or infinity")
    return converted


def seeds_from(seed: int | Sequence[int] | None, count: int, name: str = "seed") -> list[int]:
    """Seeds of `count` images: seed, seed + 1, ..., or one for each; None draws the first.

    Raises:
        ArgumentError: a value that is not a seed, or a list of another length.
    """
    seed = check(name, seed)
    if seed is None:
        seed = int.from_bytes(os.urandom(_DRAWN_SEED_BYTES))
    if isinstance(seed, int):
        return [(seed + k) % SEED_LIMIT for k in range(count)]
    if len(seed) != count:
        raise ArgumentError(f"{name} has {len(seed)} seeds for {count} images; allowed: one for each, or the first")
    return list(seed)


def _each(first: str, others: Sequence[str | None], encoders: int) -> tuple[str, ...]:
    return (first, *(first if other is None else other for other in others[: encoders - 1]))


def _plain_texts(name: str, value: Any) -> str | list[str] | None:
    """A text or a list of texts as plain values; None as it is."""
    if value is None or isinstance(value, str):
        return value if value is None else _plain_text(name, value)
    try:
        each = plain.listed(value)
    except ValueError:
        raise ArgumentError(f"{name} must be text or a list of texts, not {type(value).__name__}") from None
    return [_plain_text(name, entry) for entry in each]


def _plain_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentError(f"{name} must be text, not {type(value).__name__}")
    if len(value) > MAX_TEXT:
        raise ArgumentError(f"{name} has {len(value)} characters; allowed: {MAX_TEXT}")
    return plain.text(value)


def _column(value: str | Sequence[str] | None) -> list[str | None]:
    return [value] if value is None or isinstance(value, str) else list(value)
