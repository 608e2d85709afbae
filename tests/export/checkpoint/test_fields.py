"""Every field of diffusers' configurations that acts outside the graphs is used, harmless, or refused by name."""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    VQModel,
)

from triptych.export.checkpoint import check_fields, open_checkpoint
from triptych.export.checkpoint.fields import FIELDS
from triptych.runtime.errors import SourceError

MODULES = {
    "vae": (AutoencoderKL, AutoencoderTiny, VQModel),
    "UNet2DConditionModel": (UNet2DConditionModel,),
    "SD3Transformer2DModel": (SD3Transformer2DModel,),
}
PIPELINES = (
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusion3Pipeline,
)
COMPONENTS = {"vae", "unet", "transformer"}
COMPONENTS |= {f"{kind}{number}" for kind in ("text_encoder", "tokenizer") for number in ("", "_2", "_3")}

SHAPING = {
    "vae": {
        *("act_fn", "decoder_block_out_channels", "down_block_types", "encoder_block_out_channels", "layers_per_block"),
        *("mid_block_add_attention", "norm_num_groups", "num_decoder_blocks", "num_encoder_blocks"),
        "num_vq_embeddings",
        *("up_block_types", "upsample_fn", "upsampling_scaling_factor", "use_post_quant_conv", "use_quant_conv"),
    },
    "UNet2DConditionModel": {
        *("act_fn", "addition_embed_type_num_heads", "attention_head_dim", "attention_type", "block_out_channels"),
        *("class_embeddings_concat", "conv_in_kernel", "conv_out_kernel", "cross_attention_norm", "down_block_types"),
        *("downsample_padding", "dropout", "dual_cross_attention", "flip_sin_to_cos", "freq_shift", "layers_per_block"),
        *("mid_block_only_cross_attention", "mid_block_scale_factor", "mid_block_type", "norm_eps", "norm_num_groups"),
        *("num_attention_heads", "only_cross_attention", "resnet_out_scale_factor", "resnet_skip_time_act"),
        *("resnet_time_scale_shift", "reverse_transformer_layers_per_block", "time_embedding_dim"),
        *("time_embedding_type", "timestep_post_act", "transformer_layers_per_block", "up_block_types"),
        "use_linear_projection",
    },
    "SD3Transformer2DModel": {
        *("attention_head_dim", "caption_projection_dim", "dual_attention_layers", "num_attention_heads", "num_layers"),
        "qk_norm",
    },
}
"""Fields that shape the modules themselves: a graph is compared with what they make."""


@pytest.mark.parametrize("kind", MODULES)
def test_every_field_of_the_modules_is_treated(kind: str) -> None:
    fields = {name for module in MODULES[kind] for name in inspect.signature(module.__init__).parameters} - {"self"}
    treated = FIELDS[kind].keys() - {"_class_name"}
    assert fields - treated - SHAPING[kind] == set()
    assert treated & SHAPING[kind] == set()


def test_every_field_of_the_pipelines_is_treated() -> None:
    fields = {name for pipeline in PIPELINES for name in inspect.signature(pipeline.__init__).parameters} - {"self"}
    assert fields - COMPONENTS - FIELDS["index"].keys() == set()


def edited(checkpoint: Path, folder: Path, file: str, **changes: Any) -> Path:
    """A copy with other values in a file."""
    shutil.copytree(checkpoint, folder, copy_function=lambda source, target: Path(target).symlink_to(source))
    config = json.loads((folder / file).read_text()) | changes
    (folder / file).unlink()
    (folder / file).write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("vae/config.json", {"shift_factor": 0.1}),
        ("vae/config.json", {"latents_mean": [0.0] * 4}),
        ("vae/config.json", {"_class_name": "AsymmetricAutoencoderKL"}),
        ("vae/config.json", {"in_channels": 4}),
        ("vae/config.json", {"scaling_factor": 0}),
        ("vae/config.json", {"scaling_factor": "x"}),
        ("unet/config.json", {"encoder_hid_dim": 32}),
        ("unet/config.json", {"class_embed_type": "timestep"}),
        ("unet/config.json", {"addition_embed_type": "image"}),
        ("unet/config.json", {"center_input_sample": True}),
        ("unet/config.json", {"out_channels": 8}),
        ("unet/config.json", {"sample_size": None}),
        ("unet/config.json", {"_class_name": "UNet3DConditionModel"}),
        ("text_encoder/config.json", {"model_type": "t5"}),
    ],
    ids=str,
)
def test_a_field_that_would_act_otherwise_is_refused_by_name(
    checkpoint: Path, tmp_path: Path, file: str, changes: dict[str, Any]
) -> None:
    opened = open_checkpoint(edited(checkpoint, tmp_path / "other", file, **changes))
    ((key, value),) = changes.items()
    with pytest.raises(SourceError) as error:
        check_fields(opened)
    message = str(error.value)
    assert (f"{key}={value!r}" in message) or str(value) in message
    assert "allowed: " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("vae/config.json", {"shift_factor": 0.0}),
        ("vae/config.json", {"shift_factor": None, "force_upcast": False, "latents_mean": None}),
        ("unet/config.json", {"class_embed_type": None, "center_input_sample": False}),
        ("model_index.json", {"add_watermarker": True, "image_encoder": ["transformers", "X"], "is_cosxl_edit": False}),
    ],
    ids=str,
)
def test_harmless_values_pass(checkpoint: Path, tmp_path: Path, file: str, changes: dict[str, Any]) -> None:
    check_fields(open_checkpoint(edited(checkpoint, tmp_path / "other", file, **changes)))


def test_statistics_of_latents_are_used_in_sdxl(xl_checkpoint: Path, tmp_path: Path) -> None:
    statistics = {"latents_mean": [-1.6, 1.1, 0.3, -0.2], "latents_std": [8.4, 5.9, 4.9, 5.0]}
    check_fields(open_checkpoint(edited(xl_checkpoint, tmp_path / "other", "vae/config.json", **statistics)))
