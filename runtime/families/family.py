"""What differs between model families: a few values each."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..sampling import defaults, with_scheduler

TASKS = TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINTING, EDITING = "text to image", "image to image", "inpainting", "editing"


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder, its tokenizer, and the layer whose output the latent generator attends to.

    `layer` counts hidden states from the end, as they are before the final normalisation; None is the last one, after
    it. `pooled` says that the generator is given the encoder's projected summary of the text, too. `kind` is that of
    the tokenizer, a key of `text.encoders.TOKENIZERS`.
    """

    name: str
    tokenizer: str
    layer: int | None = None
    pooled: bool = False
    kind: str = "clip"

    def hidden(self, outputs: Iterable[str]) -> str:
        """The name of the output that holds that layer's, or should."""
        if self.layer is None:
            return "last_hidden_state"
        numbers = sorted(int(name.rpartition(".")[2]) for name in outputs if re.fullmatch(r"hidden_states\.\d+", name))
        return f"hidden_states.{numbers[self.layer] if len(numbers) >= -self.layer else -self.layer}"


@dataclass(frozen=True)
class Family:
    """A family of text-to-image models.

    `models` are those of its kind that people know. The `_class_name`s in model_index.json that belong to it are
    diffusers' `pipelines`, the first of them from text to image, and those that exporters wrote. What its pipelines
    take where nothing is said: `guidance_scale`, `num_inference_steps`, `strength` and, with a mask, `mask_strength`.
    `told` names what the generator is told of a picture besides its text, in this order: see `conditioning.Told`.
    `refines` says whether it makes no pictures of its own, but better ones of another model's.
    `zeroes_negatives` says whether they take zeros for the conditioning of a negative prompt that is not given, and
    `mends_schedulers` whether they mend the scheduler configuration of early checkpoints; `shortens` see
    `Sampler.from_config`. Where they edit a picture, `image_guidance_scale` is what they take for that. `chunks` is how
    many are made of a prompt at most, None as many as it needs: see `runtime.chunks`. `scaling_factor` is what its
    latents are multiplied by, where the decoder's config does not say it.
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
    mends_schedulers: bool = False
    told: tuple[str, ...] = ()
    refines: bool = False
    shortens: bool = False
    image_guidance_scale: float | None = None
    chunks: int | None = None
    scaling_factor: float = 0.18215
    generator: str = "unet"

    @property
    def text_encoders(self) -> tuple[str, ...]:
        """The names of the text encoders."""
        return tuple(encoder.name for encoder in self.encoders)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What its models do."""
        if self.image_guidance_scale is not None:
            return (EDITING,)
        return (IMAGE_TO_IMAGE, INPAINTING) if self.refines else (TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINTING)

    def scheduler_config(self, config: Mapping[str, Any], scheduler: str | None) -> dict[str, Any]:
        """The package's scheduler configuration, or another scheduler's, as diffusers' pipeline would run it.

        StableDiffusionPipeline mends two options of early checkpoints when it is loaded, defaults included; a scheduler
        put in its place takes over what the configuration says, mended, but not what it leaves to defaults. The
        package's own class by name is the package's own scheduler.
        """
        mended: dict[str, Any] = {}
        if self.mends_schedulers:
            said = {**defaults(config), **config}
            if said.get("steps_offset", 1) != 1:
                mended["steps_offset"] = 1
            if said.get("clip_sample") is True:
                mended["clip_sample"] = False
        if scheduler in (None, config.get("_class_name")):
            return {**config, **mended}
        return with_scheduler({name: mended.get(name, value) for name, value in config.items()}, scheduler)


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
    mends_schedulers=True,
)
"""Of Stable Diffusion 2.x, the text encoder of the checkpoint comes without its last layer."""

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
    scaling_factor=0.13025,
    zeroes_negatives=True,
    told=("original_size", "crops_coords_top_left", "target_size"),
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
    scaling_factor=0.13025,
    zeroes_negatives=True,
    told=("original_size", "crops_coords_top_left", "aesthetic_score"),
    refines=True,
)
"""It has the classes of SDXL, and says `requires_aesthetics_score`."""

LATENT_CONSISTENCY = Family(
    name="latent-consistency",
    models=("LCM Dreamshaper",),
    pipelines=("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"),
    exported=("ORTLatentConsistencyModelPipeline", "ORTLatentConsistencyModelImg2ImgPipeline"),
    encoders=(TextEncoder("text_encoder", "tokenizer"),),
    guidance_scale=8.5,
    num_inference_steps=4,
    shortens=True,
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
"""Of prompts that say what is to become of a picture."""

FAMILIES = (
    STABLE_DIFFUSION,
    STABLE_DIFFUSION_XL,
    STABLE_DIFFUSION_XL_REFINER,
    LATENT_CONSISTENCY,
    LATENT_DIFFUSION,
    INSTRUCT_PIX2PIX,
)

_BY_INDEX = {
    (pipeline, family.refines): family for family in FAMILIES for pipeline in (*family.pipelines, *family.exported)
}


CLASS_NAMES = tuple(dict.fromkeys(pipeline for pipeline, _ in _BY_INDEX))
"""The `_class_name`s that are supported."""


def family_by(model_index: Mapping[str, Any]) -> Family | None:
    """The family of a model_index.json, by its `_class_name` and `requires_aesthetics_score`; None if not supported."""
    return _BY_INDEX.get((str(model_index.get("_class_name")), bool(model_index.get("requires_aesthetics_score"))))
