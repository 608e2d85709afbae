"""Architectures of checkpoints with random weights: published models, and small ones for tests.

All dimensions of a small one differ.
"""

from typing import Any

Config = dict[str, Any]

SCHEDULER: Config = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}

FULL: dict[str, Config] = {
    "text_encoder": {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "projection_dim": 768,
        "hidden_act": "quick_gelu",
    },
    "unet": {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "layers_per_block": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": 768,
        "norm_num_groups": 32,
    },
    "vae": {
        "sample_size": 512,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "scaling_factor": 0.18215,
    },
    "scheduler": SCHEDULER,
}

SMALL: dict[str, Config] = {
    "text_encoder": FULL["text_encoder"]
    | {
        "vocab_size": 650,
        "hidden_size": 44,
        "intermediate_size": 92,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "projection_dim": 44,
    },
    "unet": FULL["unet"]
    | {
        "sample_size": 16,
        "block_out_channels": (24, 40, 56),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": 2,
        "cross_attention_dim": 44,
        "norm_num_groups": 8,
    },
    "vae": FULL["vae"]
    | {
        "sample_size": 128,
        "block_out_channels": (10, 18, 26, 34),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 1,
        "norm_num_groups": 2,
    },
    "scheduler": SCHEDULER,
}

FULL_2: dict[str, Config] = FULL | {
    "text_encoder": FULL["text_encoder"]
    | {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
    | {"projection_dim": 512, "hidden_act": "gelu"},
    "unet": FULL["unet"]
    | {
        "sample_size": 96,
        "attention_head_dim": (5, 10, 20, 20),
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
        "upcast_attention": True,
    },
    "tokenizer": {"pad_token": "!"},
    "scheduler": SCHEDULER | {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"},
}
"""Stable Diffusion 2.1."""

FULL_XL: dict[str, Config] = {
    "text_encoder": FULL["text_encoder"],
    "tokenizer_2": {"pad_token": "!"},
    "text_encoder_2": FULL["text_encoder"]
    | {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
    | {"projection_dim": 1280, "hidden_act": "gelu"},
    "unet": FULL["unet"]
    | {
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "vae": FULL["vae"] | {"sample_size": 1024, "scaling_factor": 0.13025},
    "scheduler": {
        "_class_name": "EulerDiscreteScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "timestep_spacing": "leading",
        "steps_offset": 1,
    },
}
"""Stable Diffusion XL base 1.0."""

SMALL_2: dict[str, Config] = SMALL | {
    "text_encoder": SMALL["text_encoder"] | {"hidden_act": "gelu"},
    "unet": SMALL["unet"] | {"attention_head_dim": (2, 4, 7), "use_linear_projection": True, "upcast_attention": True},
    "tokenizer": {"pad_token": "!"},
    "scheduler": FULL_2["scheduler"],
}

SMALL_XL: dict[str, Config] = {
    "text_encoder": SMALL["text_encoder"],
    "tokenizer_2": {"pad_token": "!"},
    "text_encoder_2": SMALL["text_encoder"]
    | {"hidden_size": 36, "num_hidden_layers": 2, "projection_dim": 28, "hidden_act": "gelu"},
    "unet": SMALL["unet"]
    | {
        "block_out_channels": (24, 40, 56),
        "down_block_types": FULL_XL["unet"]["down_block_types"],
        "up_block_types": FULL_XL["unet"]["up_block_types"],
        "attention_head_dim": (2, 4, 7),
        "cross_attention_dim": 80,
        "transformer_layers_per_block": (1, 1, 2),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 16,
        "projection_class_embeddings_input_dim": 124,
    },
    "vae": SMALL["vae"] | {"scaling_factor": 0.13025},
    "scheduler": FULL_XL["scheduler"],
}

FULL_REFINER: dict[str, Config] = {
    "tokenizer_2": FULL_XL["tokenizer_2"],
    "text_encoder_2": FULL_XL["text_encoder_2"],
    "unet": FULL_XL["unet"]
    | {
        "block_out_channels": (384, 768, 1536, 1536),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (6, 12, 24, 24),
        "cross_attention_dim": 1280,
        "transformer_layers_per_block": 4,
        "projection_class_embeddings_input_dim": 2560,
    },
    "vae": FULL_XL["vae"],
    "scheduler": FULL_XL["scheduler"],
}
"""Stable Diffusion XL refiner 1.0."""

SMALL_REFINER: dict[str, Config] = {
    "tokenizer_2": SMALL_XL["tokenizer_2"],
    "text_encoder_2": SMALL_XL["text_encoder_2"],
    "unet": SMALL_XL["unet"]
    | {
        "cross_attention_dim": 36,
        "transformer_layers_per_block": 1,
        "projection_class_embeddings_input_dim": 108,
    },
    "vae": SMALL_XL["vae"],
    "scheduler": FULL_XL["scheduler"],
}

_CONSISTENCY = SCHEDULER | {"_class_name": "LCMScheduler", "original_inference_steps": 50}
FULL_LCM = FULL | {"unet": FULL["unet"] | {"time_cond_proj_dim": 256}, "scheduler": _CONSISTENCY}
SMALL_LCM = SMALL | {"unet": SMALL["unet"] | {"time_cond_proj_dim": 32}, "scheduler": _CONSISTENCY}

FULL_LDM: dict[str, Config] = {
    "bert": {
        "vocab_size": 30522,
        "max_position_embeddings": 77,
        "encoder_layers": 32,
        "encoder_ffn_dim": 5120,
        "encoder_attention_heads": 8,
        "head_dim": 64,
        "d_model": 1280,
    },
    "unet": FULL["unet"] | {"sample_size": 32, "cross_attention_dim": 1280},
    "vqvae": FULL["vae"] | {"sample_size": 256},
    "scheduler": {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "clip_sample": False,
    },
}
"""The original latent diffusion model (Rombach et al. 2022), CompVis/ldm-text2im-large-256."""

SMALL_LDM: dict[str, Config] = {
    "bert": FULL_LDM["bert"]
    | {
        "vocab_size": 650,
        "encoder_layers": 3,
        "encoder_ffn_dim": 92,
        "encoder_attention_heads": 3,
        "head_dim": 14,
        "d_model": 44,
    },
    "unet": SMALL["unet"],
    "vqvae": SMALL["vae"],
    "scheduler": FULL_LDM["scheduler"],
}

_CODES = {"_class_name": "VQModel", "num_vq_embeddings": 96}
SMALL_LDM_VQ = SMALL_LDM | {"vqvae": SMALL_LDM["vqvae"] | _CODES}
FULL_LDM_VQ = FULL_LDM | {"vqvae": FULL_LDM["vqvae"] | _CODES | {"num_vq_embeddings": 16384}}

_FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
_PROJECTING = {"_class_name": "CLIPTextModelWithProjection"}
_VAE_3 = {"latent_channels": 16, "scaling_factor": 1.5305, "shift_factor": 0.0609}
_VAE_3 |= {"use_quant_conv": False, "use_post_quant_conv": False}

FULL_3: dict[str, Config] = {
    "text_encoder": FULL["text_encoder"] | _PROJECTING,
    "tokenizer_2": {"pad_token": "!"},
    "text_encoder_2": FULL_XL["text_encoder_2"],
    "transformer": {
        "_class_name": "SD3Transformer2DModel",
        "sample_size": 128,
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 16,
        "num_layers": 24,
        "attention_head_dim": 64,
        "num_attention_heads": 24,
        "joint_attention_dim": 4096,
        "caption_projection_dim": 1536,
        "pooled_projection_dim": 2048,
        "pos_embed_max_size": 192,
    },
    "vae": FULL["vae"] | _VAE_3 | {"sample_size": 1024},
    "scheduler": _FLOW,
}
"""Stable Diffusion 3 Medium, without T5."""

FULL_3_T5 = FULL_3 | {
    "text_encoder_3": {
        "vocab_size": 32128,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    }
}
"""Stable Diffusion 3 Medium with T5-XXL."""

_MEDIUM = {"dual_attention_layers": tuple(range(13)), "qk_norm": "rms_norm", "pos_embed_max_size": 384}
FULL_35 = FULL_3 | {"transformer": FULL_3["transformer"] | _MEDIUM}
"""Stable Diffusion 3.5 Medium, without T5."""

SMALL_3: dict[str, Config] = {
    "text_encoder": SMALL["text_encoder"] | _PROJECTING,
    "tokenizer_2": FULL_3["tokenizer_2"],
    "text_encoder_2": SMALL_XL["text_encoder_2"],
    "transformer": FULL_3["transformer"]
    | {
        "sample_size": 16,
        "num_layers": 3,
        "attention_head_dim": 16,
        "num_attention_heads": 3,
        "joint_attention_dim": 96,
        "caption_projection_dim": 48,
        "pooled_projection_dim": 72,
        "pos_embed_max_size": 14,
    },
    "vae": SMALL["vae"] | _VAE_3,
    "scheduler": _FLOW,
}
_T5 = {"vocab_size": 400, "d_model": 96, "d_kv": 20, "d_ff": 60, "num_layers": 2, "num_heads": 5}
SMALL_3_T5 = SMALL_3 | {"text_encoder_3": FULL_3_T5["text_encoder_3"] | _T5}
SMALL_35 = SMALL_3 | {"transformer": SMALL_3["transformer"] | _MEDIUM | {"dual_attention_layers": (0, 1)}}
SMALL_35["transformer"]["pos_embed_max_size"] = 18

ARCHITECTURES = {
    "sd15": ("StableDiffusionPipeline", FULL, SMALL),
    "sd21": ("StableDiffusionPipeline", FULL_2, SMALL_2),
    "sdxl": ("StableDiffusionXLPipeline", FULL_XL, SMALL_XL),
    "refiner": ("StableDiffusionXLImg2ImgPipeline", FULL_REFINER, SMALL_REFINER),
    "lcm": ("LatentConsistencyModelPipeline", FULL_LCM, SMALL_LCM),
    "sd3": ("StableDiffusion3Pipeline", FULL_3, SMALL_3),
    "sd3-t5": ("StableDiffusion3Pipeline", FULL_3_T5, SMALL_3_T5),
    "sd35": ("StableDiffusion3Pipeline", FULL_35, SMALL_35),
    "ldm": ("LDMTextToImagePipeline", FULL_LDM, SMALL_LDM),
    "ldm-vq": ("LDMTextToImagePipeline", FULL_LDM_VQ, SMALL_LDM_VQ),
}
"""Name -> pipeline class, configurations at full size, and small ones."""
