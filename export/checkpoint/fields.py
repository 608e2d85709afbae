"""Fields of diffusers' configurations that act outside the graphs: each is used, harmless, or refused by name.

A field that is not listed shapes the modules themselves: graphs are captured from them and compared with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.runtime.errors import SourceError
from triptych.runtime.families.family import Family
from triptych.runtime.package.geometry import latent_channels

from .checkpoint import FULL, QUANTIZED, TINY, Checkpoint

_OFF = (None, False)


@dataclass(frozen=True)
class Field:
    """A field of a configuration. `reason` says what it does; values other than `allowed` are refused, None is all."""

    reason: str
    allowed: tuple[Any, ...] | None = None


def _refused(reason: str, *allowed: Any) -> Field:
    return Field(reason, (None, *allowed))


_AUTOENCODER = {
    "_class_name": Field("it is not an autoencoder of these families", (None, FULL, TINY, QUANTIZED)),
    "block_out_channels": Field("used: pixels to a latent"),
    "force_upcast": Field("harmless: export finds out itself where float16 overflows"),
    "in_channels": Field("images have three channels", (None, 3)),
    "latent_channels": Field("used: channels of the latents"),
    "latent_magnitude": Field("harmless: range of latents that are stored as images"),
    "latent_shift": Field("harmless: range of latents that are stored as images"),
    "lookup_from_codebook": Field("harmless: codes are looked up anyway"),
    "norm_type": _refused("how a VQModel is normalised", "group"),
    "out_channels": Field("images have three channels", (None, 3)),
    "sample_size": Field("harmless: tiles of diffusers"),
    "scaling_factor": Field("used: divisor of the latents"),
    "vq_embed_dim": Field("used: channels of the latents"),
}

_MOVES = {
    "latents_mean": Field("used: mean of the latents"),
    "latents_std": Field("used: deviation of the latents"),
    "shift_factor": Field("used: mean of the latents"),
}
_MOVES_NOT = {
    name: _refused("of the latents, which diffusers' pipeline of this family does not use", 0) for name in _MOVES
}

_UNET = {
    "_class_name": Field("it has no text conditioning as these families have it", (None, "UNet2DConditionModel")),
    "addition_embed_type": _refused("further conditioning", "text_time"),
    "addition_time_embed_dim": Field("used: width of the micro-conditioning"),
    "center_input_sample": _refused("latents are moved to -1..1", False),
    "class_embed_type": _refused("conditioning by a class", False),
    "cross_attention_dim": Field("used: width of the text"),
    "encoder_hid_dim": _refused("projection of the text", False),
    "encoder_hid_dim_type": _refused("projection of the text", False),
    "in_channels": Field("used: extra channels distinguish inpainting and editing"),
    "num_class_embeds": _refused("conditioning by a class", False),
    "out_channels": Field("used: those of the latents, without a variance"),
    "projection_class_embeddings_input_dim": Field("used: widths of the added conditioning"),
    "sample_size": Field("used: size of the images"),
    "time_cond_proj_dim": Field("used: guidance is embedded"),
    "time_embedding_act_fn": _refused("an activation after the time embedding", False),
    "upcast_attention": Field("used: attention in float32"),
}

_SD3 = {
    "_class_name": Field("it is not a transformer of Stable Diffusion 3", ("SD3Transformer2DModel",)),
    "in_channels": Field("used: extra channels are those of inpainting"),
    "joint_attention_dim": Field("used: width of the text"),
    "out_channels": Field("used: those of the latents"),
    "patch_size": Field("used: latents of a token"),
    "pooled_projection_dim": Field("used: width of the pooled text"),
    "pos_embed_max_size": Field("used: the largest image"),
    "sample_size": Field("used: size of the images"),
}

_CLIP = {
    "max_position_embeddings": Field("used: tokens of a chunk"),
    "model_type": Field("", (None, "clip", "clip_text_model")),
    "projection_dim": Field("used: width of the pooled text"),
}
_BERT = {"model_type": Field("", ("ldmbert",))}
_T5 = {
    "model_type": Field("", ("t5",)),
    "is_decoder": _refused("attention to the tokens before alone", False),
}
_QWEN3 = {
    "model_type": Field("", ("qwen3",)),
    "use_sliding_window": _refused("attention to the nearest tokens alone", False),
}

_INDEX = {
    "_class_name": Field("used: the family"),
    "_diffusers_version": Field("harmless"),
    "_name_or_path": Field("harmless: left out"),
    "add_watermarker": Field("harmless: images carry no watermark, but their settings"),
    "feature_extractor": Field("harmless: of the safety checker, which is left out"),
    "force_zeros_for_empty_prompt": Field("used: zeros for a missing negative prompt"),
    "image_encoder": Field("harmless: of IP-Adapters, which are not exported"),
    "is_cosxl_edit": _refused("its image latents are scaled", False),
    "requires_aesthetics_score": Field("used: a refiner"),
    "requires_safety_checker": Field("harmless: false in packages"),
    "safety_checker": Field("harmless: left out"),
    "scheduler": Field("used: the scheduler's class"),
}

FIELDS: Mapping[str, Mapping[str, Field]] = {
    "vae": _AUTOENCODER | _MOVES,
    "UNet2DConditionModel": _UNET,
    "SD3Transformer2DModel": _SD3,
    "clip": _CLIP,
    "bert": _BERT,
    "t5": _T5,
    "qwen3": _QWEN3,
    "index": _INDEX,
}
"""Kind of a configuration -> name of a field -> its treatment."""


def check_fields(checkpoint: Checkpoint) -> None:
    """Check the configurations of a checkpoint, before its weights are read.

    Raises:
        SourceError: a field has a value that an export or the runtime would not act on; names the field.
    """
    family = checkpoint.family
    for part in checkpoint.parts:
        kinds = {encoder.name: encoder.kind for encoder in family.encoders} | {family.denoiser: family.denoiser_class}
        fields = dict(FIELDS[kinds.get(part, "vae")])
        if part == "vae":
            fields |= {name: field for name, field in _MOVES_NOT.items() if name not in family.latents.moved_by}
        _check(checkpoint.name, part, checkpoint.config(part), fields)
    _check(checkpoint.name, "model_index.json", checkpoint.model_index, _INDEX)
    _check_numbers(checkpoint, family)


def _check(name: str, part: str, config: Mapping[str, Any], fields: Mapping[str, Field]) -> None:
    for key, field in fields.items():
        value = config.get(key)
        if field.allowed is None or any(value == each and isinstance(value, type(each)) for each in field.allowed):
            continue
        if value == 0.0 and isinstance(value, float) and 0 in field.allowed:
            continue
        names = [str(each) for each in field.allowed if each not in _OFF] or ["null"]
        described = f"{_described(part, config)} with {key}={value!r}"
        if key == "_class_name":
            described = f"a {value}"
        elif key == "model_type":
            described = f"a text encoder of type {value}"
        reason = f": {field.reason}" if field.reason else ""
        raise SourceError(f"{name}: {described} is not supported{reason}; allowed: {', '.join(names)}")


def _described(part: str, config: Mapping[str, Any]) -> str:
    kind = str(config.get("_class_name", part))
    return "a U-Net" if part == "unet" else f"{'an' if kind[:1] in 'AEIOU' else 'a'} {kind}"


def _check_numbers(checkpoint: Checkpoint, family: Family) -> None:
    """Check the sizes that an export computes with."""
    places: Sequence[tuple[str, str]] = (
        (family.denoiser, "in_channels"),
        (family.denoiser, "out_channels"),
        (family.denoiser, "sample_size"),
        *((family.denoiser, width) for width in ("cross_attention_dim", "joint_attention_dim", "patch_size")),
        ("vae", "latent_channels"),
        ("vae", "scaling_factor"),
        ("vae", "block_out_channels"),
    )
    for part, key in places:
        value = checkpoint.config(part).get(key, 1)  # diffusers has a default for it
        each = value if isinstance(value, list) and value else [value]
        if not all(isinstance(number, int | float) and number > 0 for number in each):
            raise SourceError(f"{checkpoint.name}: {part}/config.json has {key}={value!r}; allowed: positive numbers")
    given, channels = (
        checkpoint.config(family.denoiser).get("out_channels", 4),
        latent_channels(checkpoint.config("vae")),
    )
    if given != channels:
        raise SourceError(
            f"{checkpoint.name}: {_described(family.denoiser, checkpoint.config(family.denoiser))} with "
            f"out_channels={given} is not supported; allowed: {channels}, as its VAE"
        )
