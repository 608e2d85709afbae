"""Write the checkpoint in the layout of diffusers' StableDiffusionPipeline, in float16, and read it back."""

import copy
import shutil
from pathlib import Path

import diffusion
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

PARTS = ("model_index.json", "scheduler", "text_encoder", "tokenizer", "unet", "vae")
MOST_BYTES = 16 * 2**20  # of all weights together


def publish(
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    tokenizer_folder: Path,
    target: Path,
) -> None:
    """Replace the checkpoint in ``target``; other files there stay."""
    pipeline = StableDiffusionPipeline(
        vae=copy.deepcopy(vae),
        text_encoder=copy.deepcopy(encoder),
        tokenizer=tokenizer,
        unet=copy.deepcopy(unet),
        scheduler=diffusion.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(torch.float16)
    staging = target / "new"
    shutil.rmtree(staging, ignore_errors=True)
    pipeline.save_pretrained(staging, safe_serialization=True)
    # The tokenizer as it was learnt: transformers 5 writes tokenizer.json alone, others read vocab.json and merges.txt.
    shutil.copytree(tokenizer_folder, staging / "tokenizer", dirs_exist_ok=True)
    weights = sum(path.stat().st_size for path in staging.rglob("*.safetensors"))
    if weights > MOST_BYTES:
        raise ValueError(f"the weights take {weights} bytes, more than {MOST_BYTES}")
    StableDiffusionPipeline.from_pretrained(staging, low_cpu_mem_usage=False)
    for part in PARTS:
        old = target / part
        if old.is_dir():
            shutil.rmtree(old)
        (staging / part).replace(old)
    shutil.rmtree(staging)
