"""Write a Stable Diffusion 1.x checkpoint with random weights, as a diffusers folder.

    python benchmarks/make_checkpoint.py OUT [--size full|small] [--seed 0]

`full` has the exact architecture of SD 1.5 (1.07 billion parameters, 4.27 GB) and is what full-size figures are
measured on; `small` (1.2 million parameters) is what tests run on: no two of its dimensions coincide. The pictures
mean nothing, but the numbers are those of a working network: the U-Net finds most of the noise and heeds prompt and
time, the decoder fills [-1, 1], and nothing comes near float16's range.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

Config = dict[str, Any]

_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"

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


def write_checkpoint(folder: Path, configs: Mapping[str, Config], *, seed: int = 0) -> Path:
    """Write a whole `StableDiffusionPipeline` folder; `configs` has the keys of `FULL`."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for position, (name, make) in enumerate(_MAKERS.items()):
            torch.manual_seed(seed * len(_MAKERS) + position)
            make(configs[name]).save_pretrained(folder / name)
    PNDMScheduler(**configs["scheduler"]).save_pretrained(folder / "scheduler")
    text = configs["text_encoder"]
    write_tokenizer(folder / "tokenizer", text["vocab_size"], text["max_position_embeddings"])
    _write_json(folder / "model_index.json", _MODEL_INDEX)
    return folder


def write_tokenizer(folder: Path, size: int, length: int) -> None:
    """Write a byte-level CLIP tokenizer of `size` entries: 512 bytes, invented merges, then start and end of text."""
    symbols = _byte_symbols()
    vocabulary = symbols + [symbol + "</w>" for symbol in symbols]
    merges: list[tuple[str, str]] = []
    letters = "etaoinshrdlucmfwypvbgkjqxz0123456789"
    for width in itertools.count(2):  # two letters, then three, ...: each merge joins an earlier entry and one letter
        for stem in map("".join, itertools.product(letters, repeat=width - 1)):
            for last, end in itertools.product(letters, ("", "</w>")):
                merges.append((stem, last + end))
        if len(vocabulary) + len(merges) + 2 >= size:
            break
    del merges[size - 2 - len(vocabulary) :]
    vocabulary += ["".join(pair) for pair in merges] + [_BOS, _EOS]

    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "vocab.json", {token: number for number, token in enumerate(vocabulary)})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": _BOS, "eos_token": _EOS, "unk_token": _EOS, "pad_token": _EOS}
    _write_json(folder / "special_tokens_map.json", special)
    limits = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "add_prefix_space": False}
    _write_json(folder / "tokenizer_config.json", special | limits)


def _text_encoder(config: Config) -> nn.Module:
    ends = {"bos_token_id": config["vocab_size"] - 2, "eos_token_id": config["vocab_size"] - 1}
    return CLIPTextModel(CLIPTextConfig(**config, **ends, pad_token_id=1)).eval()


def _unet(config: Config) -> nn.Module:
    unet = UNet2DConditionModel(**config).eval()
    noise = torch.randn(8, config["in_channels"], 16, 16)
    context = torch.randn(8, 77, config["cross_attention_dim"])
    features: list[torch.Tensor] = []
    hook = unet.conv_out.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    answers = unet(noise, torch.arange(60, 1000, 120), context).sample
    hook.remove()
    _to_unit_variance(unet.conv_out, answers)
    _lean_towards(unet.conv_out, features[0], noise)
    return unet


def _vae(config: Config) -> nn.Module:
    vae = AutoencoderKL(**config).eval()
    latents = torch.randn(2, config["latent_channels"], 16, 16) / config["scaling_factor"]
    _to_unit_variance(vae.decoder.conv_out, vae.decode(latents).sample, deviation=0.5)
    picture = vae.decode(latents).sample.clamp(-1, 1)
    moments = vae.encode(picture).latent_dist.mean
    _to_unit_variance(vae.encoder.conv_out, moments)
    return vae


def _to_unit_variance(last: nn.Conv2d, answers: torch.Tensor, deviation: float = 1.0) -> None:
    """Scale the last layer of a network so that such answers get zero mean and the standard deviation given."""
    assert last.bias is not None
    scale = deviation / answers.std()
    last.bias.copy_((last.bias - answers.mean()) * scale)
    last.weight.mul_(scale)


def _lean_towards(last: nn.Conv2d, features: torch.Tensor, noise: torch.Tensor) -> None:
    """Mix the last layer with the one that finds the noise again (ridge regression on its 3x3 patches).

    A random network that does not find the noise is no denoiser: the sampler would divide its error by alpha at
    every step and end in latents twenty times too large, on which no tolerance means what it does on a real model.
    """
    assert last.bias is not None
    patches = nn.functional.unfold(features, kernel_size=3, padding=1).transpose(1, 2).flatten(0, 1).double()
    target = noise.flatten(2).transpose(1, 2).flatten(0, 1).double()
    gram = patches.T @ patches
    gram.diagonal().add_(1e-3 * gram.diagonal().mean())
    finder = torch.linalg.solve(gram, patches.T @ target).T.reshape(last.weight.shape).float()
    last.weight.mul_(0.15).add_(finder)
    last.bias.mul_(0.15)


_MAKERS: dict[str, Callable[[Config], Any]] = {"text_encoder": _text_encoder, "unet": _unet, "vae": _vae}

_MODEL_INDEX: Config = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.6.0",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def _byte_symbols() -> list[str]:
    """The printable characters that stand for the 256 bytes in byte-level BPE, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [chr(256 + number) for number in range(256 - len(printable))]
    return [chr(byte) for byte in printable] + rest


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write_checkpoint(given.out, FULL if given.size == "full" else SMALL, seed=given.seed)


if __name__ == "__main__":
    main()
