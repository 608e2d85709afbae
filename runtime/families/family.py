"""The differences between model families, as a few values each."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import SamplerError
from ..sampling import defaults, with_scheduler
from ..sampling.configuration import check_fits, understood, with_options
from ..sampling.names import fold
from ..sampling.registry import mu_by_tokens
from .conditioning import POOLED, SAMPLE, SIZES
from .latents import LATENTS, SHIFT, STATISTICS, Latents

TASKS = TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINTING, EDITING = "text to image", "image to image", "inpainting", "editing"


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder, its tokenizer, and the layer whose output the denoiser attends to.

    Attributes:
        name: folder of the encoder.
        tokenizer: folder of the tokenizer.
        layer: hidden state, counted from the end, before the final normalisation; None is the last one, after it.
        pooled: the denoiser also takes the encoder's projected embedding of the whole text.
        kind: of the tokenizer, a key of `triptych.runtime.text.encoders.TOKENIZERS`.
        length: number of tokens of a prompt, with those at its ends; None is as the tokenizer's folder states it.
        masked: the encoder takes the mask of the padding, too.
        states: numbers of the hidden states that a language model gives side by side, in place of `layer`; 0 is the
            embedding of the tokens, and negative ones count from the end.
        thinking: `enable_thinking` of the tokenizer's chat template; None is for encoders without a template.
        appended: its tokens follow those of the encoders before it, whose states are padded to its width; else the
            states of each token are concatenated.
        optional: a checkpoint may leave it out; zeros take the place of its tokens.
    """

    name: str
    tokenizer: str
    layer: int | None = None
    pooled: bool = False
    kind: str = "clip"
    length: int | None = None
    masked: bool = False
    states: tuple[int, ...] = ()
    thinking: bool | None = None
    appended: bool = False
    optional: bool = False

    def hidden(self, outputs: Iterable[str]) -> str:
        """Name of the output that holds the layer, or would hold it."""
        if self.states:
            return "prompt_embeds"
        if self.layer is None:
            return "last_hidden_state"
        numbers = sorted(int(name.rpartition(".")[2]) for name in outputs if re.fullmatch(r"hidden_states\.\d+", name))
        return f"hidden_states.{numbers[self.layer] if len(numbers) >= -self.layer else -self.layer}"


@dataclass(frozen=True)
class Family:
    """A family of text-to-image models.

    Attributes:
        name: name in documentation and messages.
        models: the well-known models of the family.
        pipelines: diffusers' `_class_name`s in model_index.json, that of text to image first.
        exported: the `_class_name`s that other exporters write.
        encoders: the text encoders.
        guidance_scale, num_inference_steps, strength: defaults of diffusers' pipelines.
        mask_strength: their default strength with a mask.
        zeroes_negatives: a missing negative prompt has zeros for its embedding.
        updates_scheduler: the pipeline updates `steps_offset` and `clip_sample` of early scheduler configurations.
        micro_conditioning: arguments that the denoiser takes as numbers, in order, see `MicroConditioning`.
        is_refiner: the model needs an image, or latents of its base model, to start from.
        strength_in_schedule: strength shortens the schedule of the distillation, see `Sampler.from_config`.
        image_guidance_scale: default of a model that edits an image; None for other models.
        chunks: maximum number of chunks of a prompt, see `triptych.runtime.text.chunks`; None is as many as it needs.
        latents: between VAE, sampler and denoiser.
        denoiser: the folder of the denoiser: a U-Net or a transformer.
        denoiser_class: its class in diffusers.
        zero_tokens: number of zeros after the tokens of the encoders, in place of one that a checkpoint leaves out.
        aliases: name of an input in graphs of some exporter -> its name here, see `conditioning`.
    """

    name: str
    models: tuple[str, ...]
    pipelines: tuple[str, ...]
    exported: tuple[str, ...]
    encoders: tuple[TextEncoder, ...]
    guidance_scale: float
    num_inference_steps: int
    strength: float = 0.8
    mask_strength: float = 1.0
    zeroes_negatives: bool = False
    updates_scheduler: bool = False
    micro_conditioning: tuple[str, ...] = ()
    is_refiner: bool = False
    strength_in_schedule: bool = False
    image_guidance_scale: float | None = None
    chunks: int | None = None
    latents: Latents = LATENTS
    denoiser: str = "unet"
    denoiser_class: str = "UNet2DConditionModel"
    zero_tokens: int = 0
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def text_encoders(self) -> tuple[str, ...]:
        """Names of the text encoders."""
        return tuple(encoder.name for encoder in self.encoders)

    @property
    def appended_tokens(self) -> int:
        """Number of tokens after those of the chunks of a prompt."""
        return self.zero_tokens + sum(encoder.length or 0 for encoder in self.encoders if encoder.appended)

    def without(self, names: Iterable[str]) -> "Family":
        """The family of a checkpoint that leaves out optional text encoders of these names."""
        absent = [encoder for encoder in self.encoders if encoder.optional and encoder.name in set(names)]
        if not absent:
            return self
        kept = tuple(encoder for encoder in self.encoders if encoder not in absent)
        return replace(self, encoders=kept, zero_tokens=sum(encoder.length or 0 for encoder in absent))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of the models, of `TASKS`."""
        if self.image_guidance_scale is not None:
            return (EDITING,)
        return (IMAGE_TO_IMAGE, INPAINTING) if self.is_refiner else (TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINTING)

    def scheduler_config(
        self, config: Mapping[str, Any], scheduler: str | None, options: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A scheduler configuration as diffusers' pipeline would run it.

        StableDiffusionPipeline updates two options of early checkpoints when it is loaded, defaults included. A
        scheduler in place of the package's takes over the updated configuration, but not the updated defaults.

        Args:
            config: the package's scheduler_config.json.
            scheduler: a scheduler in its place, by name; None, or the package's own class, is the package's own.
            options: values in place of the configuration's.

        Raises:
            SamplerError: an unknown scheduler or option, or a scheduler for another kind of models.
        """
        own = scheduler is None or fold(scheduler) == fold(str(config.get("_class_name")))
        updated = self._updated(config) if self.updates_scheduler else {}
        if scheduler is None or own:
            chosen = {**config, **updated}
        else:
            chosen = with_scheduler({name: updated.get(name, value) for name, value in config.items()}, scheduler)
        chosen = understood(chosen)
        if options:
            chosen = with_options(chosen, options)
        check_fits(chosen, config)
        return chosen

    def _updated(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Options that StableDiffusionPipeline updates, where the configuration's scheduler has them."""
        try:
            stated = {**defaults(config), **config}
        except SamplerError:  # of a class that another scheduler replaces, or else `understood` refuses
            stated = dict(config)
        updated: dict[str, Any] = {}
        if stated.get("steps_offset", 1) != 1:
            updated["steps_offset"] = 1
        if stated.get("clip_sample") is True:
            updated["clip_sample"] = False
        return updated


_SDXL_ALIASES = {"onnx::Concat_4": POOLED, "onnx::Shape_5": SIZES}  # Olive gives these inputs no name
_SDXL_LATENTS = Latents(scaling_factor=0.13025, moved_by=STATISTICS)

STABLE_DIFFUSION = Family(
    name="stable-diffusion",
    models=("Stable Diffusion 1.x", "2.x", "SD-Turbo"),
    pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
    exported=(
        "StableDiffusionOnnxPipeline",
        "OnnxStableDiffusionPipeline",
        "OnnxStableDiffusionImg2ImgPipeline",
        "OnnxStableDiffusionInpaintPipeline",
        "ORTStableDiffusionPipeline",
        "ORTStableDiffusionImg2ImgPipeline",
        "ORTStableDiffusionInpaintPipeline",
    ),
    encoders=(TextEncoder("text_encoder", "tokenizer"),),
    guidance_scale=7.5,
    num_inference_steps=50,
    updates_scheduler=True,
)
"""Checkpoints of Stable Diffusion 2.x come with a text encoder that lacks its last layer."""

STABLE_DIFFUSION_XL = Family(
    name="stable-diffusion-xl",
    models=("SDXL base", "SDXL-Turbo", "SDXL-Lightning"),
    pipelines=("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    exported=(
        "ORTStableDiffusionXLPipeline",
        "ORTStableDiffusionXLImg2ImgPipeline",
        "ORTStableDiffusionXLInpaintPipeline",
    ),
    encoders=(
        TextEncoder("text_encoder", "tokenizer", layer=-2),
        TextEncoder("text_encoder_2", "tokenizer_2", layer=-2, pooled=True),
    ),
    guidance_scale=5.0,
    num_inference_steps=50,
    strength=0.3,
    mask_strength=0.9999,
    latents=_SDXL_LATENTS,
    zeroes_negatives=True,
    micro_conditioning=("original_size", "crops_coords_top_left", "target_size"),
    aliases=_SDXL_ALIASES,
)

STABLE_DIFFUSION_XL_REFINER = Family(
    name="stable-diffusion-xl-refiner",
    models=("SDXL refiner",),
    pipelines=("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline", "StableDiffusionXLPipeline"),
    exported=(
        "ORTStableDiffusionXLImg2ImgPipeline",
        "ORTStableDiffusionXLInpaintPipeline",
        "ORTStableDiffusionXLPipeline",
    ),
    encoders=(TextEncoder("text_encoder_2", "tokenizer_2", layer=-2, pooled=True),),
    guidance_scale=5.0,
    num_inference_steps=50,
    strength=0.3,
    mask_strength=0.9999,
    latents=_SDXL_LATENTS,
    zeroes_negatives=True,
    micro_conditioning=("original_size", "crops_coords_top_left", "aesthetic_score"),
    aliases=_SDXL_ALIASES,
    is_refiner=True,
)
"""Its classes are those of SDXL, with `requires_aesthetics_score`."""

LATENT_CONSISTENCY = Family(
    name="latent-consistency",
    models=("LCM Dreamshaper",),
    pipelines=("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"),
    exported=("ORTLatentConsistencyModelPipeline", "ORTLatentConsistencyModelImg2ImgPipeline"),
    encoders=(TextEncoder("text_encoder", "tokenizer"),),
    guidance_scale=8.5,
    num_inference_steps=4,
    strength_in_schedule=True,
)

LATENT_DIFFUSION = Family(
    name="latent-diffusion",
    models=("LDM text2im-large",),
    pipelines=("LDMTextToImagePipeline",),
    exported=(),
    encoders=(TextEncoder("text_encoder", "tokenizer", kind="bert"),),
    guidance_scale=1.0,
    num_inference_steps=50,
    chunks=1,
)
"""Of Rombach et al. 2022 (arXiv:2112.10752), section 4.3.1: a text encoder that was trained together with the U-Net."""

INSTRUCT_PIX2PIX = Family(
    name="instruct-pix2pix",
    models=("InstructPix2Pix",),
    pipelines=("StableDiffusionInstructPix2PixPipeline",),
    exported=(),
    encoders=(TextEncoder("text_encoder", "tokenizer"),),
    guidance_scale=7.5,
    num_inference_steps=100,
    image_guidance_scale=1.5,
)
"""Its prompts are instructions to change an image."""

STABLE_DIFFUSION_3 = Family(
    name="stable-diffusion-3",
    models=("Stable Diffusion 3 Medium", "3.5 Medium", "3.5 Large", "3.5 Large Turbo"),
    pipelines=("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
    exported=(
        "ORTStableDiffusion3Pipeline",
        "ORTStableDiffusion3Img2ImgPipeline",
        "ORTStableDiffusion3InpaintPipeline",
    ),
    encoders=(
        TextEncoder("text_encoder", "tokenizer", layer=-2, pooled=True),
        TextEncoder("text_encoder_2", "tokenizer_2", layer=-2, pooled=True),
        TextEncoder("text_encoder_3", "tokenizer_3", kind="t5", length=256, appended=True, optional=True),
    ),
    guidance_scale=7.0,
    num_inference_steps=28,
    strength=0.6,
    mask_strength=0.6,
    latents=Latents(scaling_factor=1.5305, moved_by=SHIFT, patch=2, mu=mu_by_tokens),
    denoiser="transformer",
    denoiser_class="SD3Transformer2DModel",
    aliases={"hidden_states": SAMPLE, "pooled_projections": POOLED},
)
"""Of Esser et al. 2024 (arXiv:2403.03206). Its third text encoder, T5, may be missing."""

FAMILIES = (
    STABLE_DIFFUSION,
    STABLE_DIFFUSION_XL,
    STABLE_DIFFUSION_XL_REFINER,
    LATENT_CONSISTENCY,
    LATENT_DIFFUSION,
    INSTRUCT_PIX2PIX,
    STABLE_DIFFUSION_3,
)

_BY_INDEX = {
    (pipeline, family.is_refiner): family for family in FAMILIES for pipeline in (*family.pipelines, *family.exported)
}


CLASS_NAMES = tuple(dict.fromkeys(pipeline for pipeline, _ in _BY_INDEX))
"""The `_class_name`s that are supported."""


def family_by(model_index: Mapping[str, Any]) -> Family | None:
    """The family of a model_index.json, by its `_class_name` and `requires_aesthetics_score`; None if not supported.

    Text encoders that it names without a class are left out.
    """
    family = _BY_INDEX.get((str(model_index.get("_class_name")), bool(model_index.get("requires_aesthetics_score"))))
    if family is None:
        return None
    return family.without(name for name in family.text_encoders if model_index.get(name) in (None, [None, None]))
