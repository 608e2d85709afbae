"""Write a checkpoint of a supported family with random weights, as a diffusers folder.

    python benchmarks/checkpoints/make_checkpoint.py OUT [--model NAME] [--size full|small] [--half] [--seed 0]

`full` has the exact architecture of the model (SD 1.5: 1.07 billion parameters, 4.27 GB), for figures at full size;
`small` has about a million parameters, for tests; see `architectures.py`. The images mean nothing, but the numbers are
those of a working model: the U-Net predicts most of the noise and depends on prompt and timestep, the decoder fills
[-1, 1], and no value comes near float16's limits. With `--half` the weights are float16, as in most published files.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from triptych.benchmarks.checkpoints.architectures import ARCHITECTURES, Config
from triptych.benchmarks.checkpoints.unigram import write_unigram
from triptych.benchmarks.checkpoints.wordpiece import write_wordpiece

_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"


def write_checkpoint(
    folder: Path,
    configs: Mapping[str, Config],
    *,
    pipeline: str = "StableDiffusionPipeline",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a whole diffusers folder for that pipeline, weights in `dtype`; `configs` as in `architectures`."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = {name: make for name, make in _MAKERS.items() if name in configs}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for position, (name, make) in enumerate(makers.items()):
            torch.manual_seed(seed * len(makers) + position)
            make(configs[name]).to(dtype).save_pretrained(folder / name)
    scheduler = getattr(diffusers, configs["scheduler"].get("_class_name", "PNDMScheduler"))
    scheduler.from_config(configs["scheduler"]).save_pretrained(folder / "scheduler")
    index = _MODEL_INDEX | {"_class_name": pipeline, "scheduler": ["diffusers", scheduler.__name__]}
    for encoder, tokenizer in (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")):
        if encoder in configs:
            text, pad = configs[encoder], configs.get(tokenizer, {}).get("pad_token", _EOS)
            write_tokenizer(folder / tokenizer, text["vocab_size"], text["max_position_embeddings"], pad=pad)
    if "text_encoder_2" in configs:
        index |= _SECOND_ENCODER
    if "text_encoder_2" in configs and "text_encoder" not in configs:
        index |= _REFINER
    if "transformer" in configs:
        own = {name: index[name] for name in ("_class_name", "_diffusers_version", "scheduler", "tokenizer", "vae")}
        second = {name: _SECOND_ENCODER[name] for name in ("text_encoder_2", "tokenizer_2")}
        index = own | second | _STABLE_DIFFUSION_3
    if "text_encoder_3" in configs:
        write_unigram(folder / "tokenizer_3", configs["text_encoder_3"]["vocab_size"])
        index |= _T5
    if "bert" in configs:
        write_wordpiece(folder / "tokenizer", configs["bert"]["vocab_size"])
        kind = configs["vqvae"].get("_class_name", "AutoencoderKL")
        common = {name: index[name] for name in ("_class_name", "_diffusers_version", "scheduler", "unet")}
        index = common | _LATENT_DIFFUSION | {"vqvae": ["diffusers", kind]}
    _write_json(folder / "model_index.json", index)
    return folder


def write_tokenizer(folder: Path, size: int, length: int, *, pad: str = _EOS) -> None:
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
    special = {"bos_token": _BOS, "eos_token": _EOS, "unk_token": _EOS, "pad_token": pad}
    _write_json(folder / "special_tokens_map.json", special)
    limits = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "add_prefix_space": False}
    _write_json(folder / "tokenizer_config.json", special | limits)


def _text_encoder(config: Config) -> nn.Module:
    named = {name: value for name, value in config.items() if name != "_class_name"}
    kind: Any = CLIPTextModelWithProjection if "_class_name" in config else CLIPTextModel
    ends = {"bos_token_id": config["vocab_size"] - 2, "eos_token_id": config["vocab_size"] - 1}
    encoder: nn.Module = kind(CLIPTextConfig(**named, **ends, pad_token_id=1)).eval()
    return encoder


def _projecting_text_encoder(config: Config) -> nn.Module:
    return _text_encoder(config | {"_class_name": "CLIPTextModelWithProjection"})


def _unet(config: Config) -> Any:
    unet = UNet2DConditionModel(**config)
    unet.eval()
    noise = torch.randn(8, config["in_channels"], 16, 16)
    context = torch.randn(8, 77, config["cross_attention_dim"])
    features: list[torch.Tensor] = []
    hook = unet.conv_out.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    outputs = unet(noise, torch.arange(60, 1000, 120), context, **_other_conditioning(config, len(noise))).sample
    hook.remove()
    _to_unit_variance(unet.conv_out, outputs)
    _lean_towards(unet.conv_out, features[0], noise[:, : config["out_channels"]])
    return unet


def _other_conditioning(config: Config, rows: int) -> dict[str, Any]:
    """Further inputs of some U-Nets: pooled text and sizes, an embedded guidance scale."""
    inputs: dict[str, Any] = {}
    if "addition_embed_type" in config:
        pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
        sizes = torch.tensor([512.0, 512, 0, 0, 512, 512]).expand(rows, -1)
        inputs["added_cond_kwargs"] = {"text_embeds": torch.randn(rows, pooled), "time_ids": sizes}
    if "time_cond_proj_dim" in config:
        inputs["timestep_cond"] = torch.randn(rows, config["time_cond_proj_dim"])
    return inputs


def _t5(config: Config) -> Any:
    t5: Any = T5EncoderModel(T5Config(**config)).eval()
    for layer in t5.modules():
        if isinstance(layer, nn.Linear):  # those that come with it leave the words as good as alike
            layer.weight.normal_(std=layer.weight.shape[-1] ** -0.5)
    return t5


def _transformer(config: Config) -> Any:
    """A transformer of flow matching: its output has the deviation of a velocity, and depends on text and time."""
    net = getattr(diffusers, config["_class_name"])(**{key: value for key, value in config.items() if key[0] != "_"})
    net.eval()
    for layer in net.modules():
        if isinstance(layer, nn.Linear):  # those that come with it leave the text as good as without effect
            layer.weight.normal_(std=layer.weight.shape[-1] ** -0.5)
    noise = torch.randn(8, config["in_channels"], 16, 16)
    context = torch.randn(8, 24, config["joint_attention_dim"])
    pooled = torch.randn(8, config["pooled_projection_dim"])
    outputs = net(noise, context, pooled, torch.arange(60.0, 1000, 120)).sample
    _to_unit_variance(net.proj_out, outputs)
    return net


def _ldm_bert(config: Config) -> Any:
    bert: Any = LDMBertModel(LDMBertConfig(**config)).eval()
    for layer in bert.modules():
        if isinstance(layer, nn.Linear | nn.Embedding):  # those that come with it leave the words as good as alike
            layer.weight.normal_(std=layer.weight.shape[-1] ** -0.5)
    # as training leaves it: in a new one, the values of a token sum up to nothing
    bert.model.layer_norm.bias.normal_(mean=0.3, std=0.1)
    return bert


def _vae(config: Config) -> Any:
    kind = getattr(diffusers, config.get("_class_name", "AutoencoderKL"))
    vae = kind(**{name: value for name, value in config.items() if name != "_class_name"}).eval()
    latents = torch.randn(2, config["latent_channels"], 16, 16) / config["scaling_factor"]
    if hasattr(vae, "quantize"):
        vae.quantize.embedding.weight.normal_(std=1 / config["scaling_factor"])
    _to_unit_variance(vae.decoder.conv_out, vae.decode(latents).sample, deviation=0.5)
    image = vae.decode(latents).sample.clamp(-1, 1)
    encoded = vae.encode(image)
    _to_unit_variance(vae.encoder.conv_out, encoded.latents if hasattr(vae, "quantize") else encoded.latent_dist.mean)
    return vae


def _to_unit_variance(last: nn.Conv2d | nn.Linear, outputs: torch.Tensor, deviation: float = 1.0) -> None:
    """Scale the last layer of a network so that its outputs have zero mean and the given standard deviation."""
    assert last.bias is not None
    scale = deviation / outputs.std()
    last.bias.copy_((last.bias - outputs.mean()) * scale)
    last.weight.mul_(scale)


def _lean_towards(last: nn.Conv2d, features: torch.Tensor, noise: torch.Tensor) -> None:
    """Mix the last layer with the one that finds the noise again (ridge regression on its 3x3 patches).

    A random network that does not find the noise does not denoise: the sampler would divide its error by alpha at
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


_MAKERS: dict[str, Callable[[Config], Any]] = {
    "text_encoder": _text_encoder,
    "text_encoder_2": _projecting_text_encoder,
    "bert": _ldm_bert,
    "unet": _unet,
    "transformer": _transformer,
    "vae": _vae,
    "vqvae": _vae,
    "text_encoder_3": _t5,  # last: the other components are the same with it and without
}

_MODEL_INDEX: Config = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.6.0",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


_SECOND_ENCODER: Config = {
    "force_zeros_for_empty_prompt": True,
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
}
_REFINER: Config = {
    "force_zeros_for_empty_prompt": False,
    "requires_aesthetics_score": True,
    "text_encoder": [None, None],
    "tokenizer": [None, None],
}

_STABLE_DIFFUSION_3: Config = {
    "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
    "text_encoder_3": [None, None],
    "tokenizer_3": [None, None],
    "transformer": ["diffusers", "SD3Transformer2DModel"],
}

_T5: Config = {
    "text_encoder_3": ["transformers", "T5EncoderModel"],
    "tokenizer_3": ["transformers", "T5TokenizerFast"],
}

_LATENT_DIFFUSION: Config = {
    "bert": ["latent_diffusion", "LDMBertModel"],
    "tokenizer": ["transformers", "BertTokenizer"],
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
    parser.add_argument("--model", choices=ARCHITECTURES, default="sd15")
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pipeline, full, small = ARCHITECTURES[arguments.model]
    configs, dtype = full if arguments.size == "full" else small, torch.float16 if arguments.half else torch.float32
    write_checkpoint(arguments.out, configs, pipeline=pipeline, seed=arguments.seed, dtype=dtype)


if __name__ == "__main__":
    main()
