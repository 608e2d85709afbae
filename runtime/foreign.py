"""Arguments and methods of diffusers' pipelines that do not exist here, each with what to use instead."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import NoReturn, ParamSpec, TypeVar

from .errors import ArgumentError, nearest

P = ParamSpec("P")
R = TypeVar("R")

CALL = {
    "generator": "use seed=, a number or one for each image",
    "output_type": "use Output.images for Pillow images, Output.latents for latents",
    "return_dict": "a call returns an Output, with images, latents and seeds",
    "callback_on_step_end": "use callback=, which gets a Step and stops the run by returning False",
    "callback_on_step_end_tensor_inputs": "use callback=, which gets a Step with the latents",
    "callback_steps": "use callback=, which is called after every step",
    "pooled_prompt_embeds": "it is text_embeds of prompt_embeds=, a mapping as encode of the pipeline returns it",
    "negative_pooled_prompt_embeds": "it is text_embeds of negative_prompt_embeds=, see prompt_embeds=",
    "prompt_embeds_mask": "use prompt_embeds=, a mapping that encode of the pipeline returns",
    "clip_skip": "it is chosen at export: triptych export --clip-skip",
    "cross_attention_kwargs": "LoRA weights are fused at export: triptych export --lora FILE:WEIGHT",
    "ip_adapter_image": "IP-Adapters are not supported",
    "ip_adapter_image_embeds": "IP-Adapters are not supported",
    "control_image": "ControlNets are not supported",
    "controlnet_conditioning_scale": "ControlNets are not supported",
    "masked_image_latents": "use image= and mask_image=",
    "padding_mask_crop": "crop image and mask_image before the call",
    "negative_original_size": "original_size= is that of both prompts",
    "negative_crops_coords_top_left": "crops_coords_top_left= is that of both prompts",
    "negative_target_size": "target_size= is that of both prompts",
    "max_sequence_length": "prompts may have any length, of which T5 reads 256 tokens: see docs/prompts.md",
    "steps": "use num_inference_steps=",
    "cfg_scale": "use guidance_scale=",
    "size": "use width= and height=",
    "n": "use num_images_per_prompt=",
}
"""Argument of a call -> what to use instead."""

LOAD = {
    "torch_dtype": "the precision is chosen at export: triptych export --precision",
    "dtype": "the precision is chosen at export: triptych export --precision",
    "variant": "it is chosen at export: triptych export --variant",
    "revision": "it is chosen at export: triptych export --revision",
    "use_safetensors": "a package holds ONNX graphs",
    "safety_checker": "there is none",
    "requires_safety_checker": "there is no safety checker",
    "feature_extractor": "there is no safety checker, which it is for",
    "device_map": "use device=",
    "provider": "use device=, a name or a list of providers",
    "providers": "use device=, a name or a list of providers",
    "low_cpu_mem_usage": "use memory='low'",
    "vae": "it is chosen at export: triptych export --vae",
    "scheduler": "give scheduler= to the call",
    "export": "use triptych export SOURCE PACKAGE",
}
"""Argument of `TextToImage.load` -> what to use instead."""

_MEMORY = "use TextToImage.load(package, memory='low')"
_AT_EXPORT = "it is done at export: triptych export --{}"

MEMBERS = {
    "from_pretrained": "export once with triptych export SOURCE PACKAGE, then use TextToImage.load(PACKAGE)",
    "from_single_file": "export once with triptych export FILE PACKAGE, then use TextToImage.load(PACKAGE)",
    "from_pipe": "one pipeline has every task: give image=, and mask_image=, to the call",
    "save_pretrained": "a package is a folder: copy it",
    "to": "use TextToImage.load(package, device=)",
    "cuda": "use TextToImage.load(package, device='cuda')",
    "cpu": "use TextToImage.load(package, device='cpu')",
    "half": "the precision is chosen at export: triptych export --precision fp16",
    "enable_model_cpu_offload": _MEMORY,
    "enable_sequential_cpu_offload": _MEMORY,
    "enable_attention_slicing": _MEMORY,
    "enable_vae_slicing": "images are decoded one at a time",
    "enable_vae_tiling": _MEMORY,
    "enable_xformers_memory_efficient_attention": "attention is fused at export",
    "enable_freeu": "FreeU is not supported",
    "load_lora_weights": _AT_EXPORT.format("lora FILE:WEIGHT"),
    "fuse_lora": _AT_EXPORT.format("lora FILE:WEIGHT"),
    "set_adapters": _AT_EXPORT.format("lora FILE:WEIGHT"),
    "load_textual_inversion": _AT_EXPORT.format("embedding FILE=TOKEN"),
    "load_ip_adapter": "IP-Adapters are not supported",
    "set_progress_bar_config": "the bar is off; the call shows it with progress=True",
    "scheduler": "give scheduler= to the call",
    "unet": "graphs are sessions of ONNX Runtime: see encode, denoise and decode",
    "vae": "see encode_image and decode",
    "tokenizer": "see text_encoders.tokenizers",
    "safety_checker": "there is none",
    "encode_prompt": "use encode(prompts)",
}
"""Attribute of a pipeline of diffusers -> what to use instead."""


class UnknownArgumentError(ArgumentError, TypeError):
    """An argument that a method does not have."""


class ForeignMemberError(ArgumentError, AttributeError):
    """A method or attribute of diffusers' pipelines that does not exist here: `hasattr` is false."""


class _Foreign:
    """An attribute that raises an error, of the class as of its objects."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise ForeignMemberError(f"{self.name}: {MEMBERS[self.name]}")


def without_foreign_members(owner: type[R]) -> type[R]:
    """A decorator for classes: each of `MEMBERS` raises `ForeignMemberError`."""
    for name in MEMBERS:
        if not hasattr(owner, name):
            setattr(owner, name, _Foreign(name))
    return owner


def known_arguments(foreign: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for methods: arguments that a method does not have are an error with what to use instead.

    Args:
        foreign: name -> what to use instead; other names are answered with those that are spelled like them.
    """

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        parameters = list(inspect.signature(method).parameters.values())[1:]  # without self or cls
        names = [each.name for each in parameters]
        positional = sum(each.kind is not each.KEYWORD_ONLY for each in parameters)

        @functools.wraps(method)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in names:
                    reason = f"{name}: {foreign[name]}" if name in foreign else _unknown(name, names)
                    raise UnknownArgumentError(reason)
            if len(args) - 1 > positional:
                raise UnknownArgumentError(
                    f"{len(args) - 1} arguments without names; allowed: {', '.join(names[:positional])}"
                )
            if len(args) == 1 and names[0] not in kwargs:
                raise ArgumentError(f"no {names[0]}: give it first")
            return method(*args, **kwargs)

        return checked

    return decorate


def _unknown(name: str, names: list[str]) -> str:
    return f"unknown argument {name}; {nearest(name, names)}"
