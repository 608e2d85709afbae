"""Groups of options, each passed to its command as one argument."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from ..parsing import lines_of, pairs_of, value_of
from ..request import Request
from . import completion
from .image_files import QUALITY, Files
from .values import HeightAndWidth, ImageFile, LatentsFile, Numbers, weighted

Command = Callable[..., None]
Option = Callable[[Command], Command]

_PATH = click.Path(path_type=Path)
WIDTH = click.option("--width", type=int, help="Width in pixels; the package's default if left out.")
HEIGHT = click.option("--height", type=int, help="Height in pixels; the package's default if left out.")


def group(
    name: str, options: Mapping[str, Option], convert: Callable[[dict[str, Any]], Any] = dict
) -> Callable[[Command], Command]:
    """A decorator that adds options to a command, which gets their values as one argument.

    Args:
        name: of the argument.
        options: name of a value -> its click option, in the order of the help.
        convert: returns the argument for the values; an option that is not set has the value None.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def grouped(**values: Any) -> None:
            group_values = {each: values.pop(each) for each in options}
            command(**values, **{name: convert(group_values)})

        decorated: Command = grouped
        for option in reversed(list(options.values())):
            decorated = option(decorated)
        return decorated

    return decorate


def only_set(values: dict[str, Any]) -> dict[str, Any]:
    """The values of options that are set."""
    return {name: value for name, value in values.items() if value is not None}


def _scheduler_options(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, Any] | None:
    pairs = pairs_of(parameter.opts[0], texts)
    return {key: value_of(value) for key, value in pairs.items()} or None


IMAGE_OPTIONS: dict[str, Option] = {
    "num_inference_steps": click.option(
        "--steps",
        "num_inference_steps",
        type=int,
        help="Steps of the scheduler; if left out, the package's default, else 50 (LCM 4, InstructPix2Pix 100).",
    ),
    "guidance_scale": click.option(
        "--guidance",
        "guidance_scale",
        type=Numbers(single=True),
        metavar="SCALE",
        help="Guidance scale, 1 for none; if left out, the package's default, else 7.5 (SDXL 5, LCM 8.5). With commas, "
        "one for each denoiser call; with --grid, an axis of the sheet.",
    ),
    "guidance_interval": click.option(
        "--guidance-interval",
        type=Numbers(),
        metavar="LOW,HIGH",
        help="Apply guidance only at noise levels between the two, e.g. 0.28,5.42. Other calls take half the time.",
    ),
    "guidance_rescale": click.option(
        "--guidance-rescale",
        default=Request.guidance_rescale,
        show_default=True,
        help="Guidance rescale, against overexposure: 0 to 1, e.g. 0.7.",
    ),
    "guidance_projection": click.option(
        "--guidance-projection",
        type=Numbers(),
        metavar="ETA,NORM,MOMENTUM",
        help="Adaptive projected guidance, against oversaturation, e.g. 0,15,-0.5.",
    ),
    "seed": click.option("--seed", type=int, help="Seed of the first image; random if left out."),
    "variation_seed": click.option(
        "--variation-seed", type=int, help="Variation seed of the first image; random if left out."
    ),
    "variation_strength": click.option(
        "--variation-strength",
        default=Request.variation_strength,
        show_default=True,
        help="Vary the seed's image: weight of the variation seed in the initial noise, 0 to 1, e.g. 0.1.",
    ),
    "negative_prompt": click.option("--negative", "negative_prompt", help="Negative prompt."),
    "scheduler": click.option(
        "--scheduler",
        shell_complete=completion.schedulers,
        help="Scheduler to use instead of the package's: see `triptych schedulers`. With --grid and commas, an "
        "axis of the sheet.",
    ),
    "scheduler_options": click.option(
        "--scheduler-option",
        "scheduler_options",
        multiple=True,
        callback=_scheduler_options,
        metavar="KEY=VALUE",
        help="Scheduler option, e.g. use_karras_sigmas=true; repeatable.",
    ),
    "eta": click.option(
        "--eta",
        default=Request.eta,
        show_default=True,
        help="Amount of new noise in each step, 0 to 1, for DDIM and TCD.",
    ),
    "timesteps": click.option(
        "--timesteps",
        type=Numbers(names=True),
        metavar="LIST",
        help="Timesteps instead of --steps: comma-separated numbers, ays_sd15 or ays_sdxl.",
    ),
    "sigmas": click.option(
        "--sigmas",
        type=Numbers(names=True),
        metavar="LIST",
        help="Noise levels instead of --steps: comma-separated numbers, ays_sd15, ays_sdxl or ays_svd.",
    ),
    "width": WIDTH,
    "height": HEIGHT,
    "prompt_2": click.option("--prompt-2", help="Prompt for the second text encoder; PROMPT if left out."),
    "prompt_3": click.option("--prompt-3", help="Prompt for the third text encoder; PROMPT if left out."),
    "negative_prompt_2": click.option(
        "--negative-2", "negative_prompt_2", help="Negative prompt for the second text encoder."
    ),
    "negative_prompt_3": click.option(
        "--negative-3", "negative_prompt_3", help="Negative prompt for the third text encoder."
    ),
    "original_size": click.option(
        "--original-size",
        type=HeightAndWidth(),
        metavar="WIDTHxHEIGHT",
        help="SDXL's micro-conditioning: original size of the image.",
    ),
    "crops_coords_top_left": click.option(
        "--crop",
        "crops_coords_top_left",
        type=HeightAndWidth(),
        metavar="LEFTxTOP",
        help="SDXL's micro-conditioning: corner of the crop.",
    ),
    "target_size": click.option(
        "--target-size",
        type=HeightAndWidth(),
        metavar="WIDTHxHEIGHT",
        help="SDXL's micro-conditioning: target size.",
    ),
    "aesthetic_score": click.option(
        "--aesthetic",
        "aesthetic_score",
        type=float,
        metavar="SCORE",
        help="Aesthetic score for SDXL's refiner, from 0 to 10; 6 if left out.",
    ),
    "negative_aesthetic_score": click.option(
        "--negative-aesthetic",
        "negative_aesthetic_score",
        type=float,
        metavar="SCORE",
        help="Aesthetic score of the negative prompt; 2.5 if left out.",
    ),
    "image": click.option("--image", type=ImageFile(), metavar="FILE", help="Image to start from."),
    "mask_image": click.option(
        "--mask",
        "mask_image",
        type=ImageFile(),
        metavar="FILE",
        help="Mask for inpainting: white where the image is redrawn.",
    ),
    "strength": click.option(
        "--strength", type=float, help="Denoising strength, above 0, up to 1: how much the image may change."
    ),
    "image_guidance_scale": click.option(
        "--image-guidance",
        "image_guidance_scale",
        type=float,
        help="For models that edit images: how closely to follow the image; 1.5 if left out.",
    ),
    "denoising_end": click.option(
        "--denoising-end",
        type=float,
        metavar="FRACTION",
        help="Stop after this fraction of the schedule, e.g. 0.8, for a refiner: see --save-latents.",
    ),
    "denoising_start": click.option(
        "--denoising-start",
        type=float,
        metavar="FRACTION",
        help="Resume after this fraction of the schedule, from --latents.",
    ),
    "latents": click.option(
        "--latents",
        type=LatentsFile(),
        metavar="FILE.npy",
        help="Initial noise instead of the seed's, or with --denoising-start the latents to resume from.",
    ),
    "num_images_per_prompt": click.option(
        "-n",
        "--num",
        "num_images_per_prompt",
        default=Request.num_images_per_prompt,
        show_default=True,
        help="Number of images for each prompt, with consecutive seeds.",
    ),
    "noise": click.option(
        "--noise",
        shell_complete=completion.one_of(completion.noise_sources),
        default=Request.noise,
        show_default=True,
        help="Source of the seed's noise: torch, torch_cuda or numpy.",
    ),
}
"""Argument of `Request` -> its option, in the order of the help."""

LEFT_OUT = {
    "prompt": "the PROMPT arguments of the command",
    "prompt_embeds": "an array of the caller's process",
    "negative_prompt_embeds": "an array of the caller's process",
}
"""Arguments of `Request` that have no option -> the reason."""

imaging = group("arguments", IMAGE_OPTIONS, only_set)
"""Adds the options of `Request`; the command gets the values as `arguments`."""

walking = group(
    "walk",
    {
        "walk": click.option(
            "--walk",
            type=click.IntRange(min=2),
            metavar="N",
            help="Generate N images that lead from each PROMPT to the next.",
        ),
        "to_seed": click.option("--to-seed", type=int, help="With --walk: the seed of the last image."),
    },
    only_set,
)
"""Adds the options of a walk; the command gets the values as `walk`."""


def _files(values: dict[str, Any]) -> Files:
    latents = values.pop("save_latents")
    return Files(**values, latents=latents)


writing = group(
    "files",
    {
        "out": click.option(
            "-o",
            "--out",
            type=_PATH,
            default=Path(),
            help="Output folder, or a file name that ends in .png, .jpg or .jpeg, which sets the format.",
        ),
        "force": click.option("--force", is_flag=True, help="Replace existing files."),
        "quality": click.option("--quality", type=click.IntRange(1, 100), help=f"JPEG quality; {QUALITY} if left out."),
        "save_latents": click.option(
            "--save-latents",
            type=_PATH,
            metavar="FILE.npy",
            help="Also write the latents, for --latents.",
        ),
        "grid": click.option("--grid", is_flag=True, help="Also write a contact sheet with one or two axes."),
    },
    _files,
)
"""Adds the options of the files that a command writes; the command gets them as `files`."""


def _load(values: dict[str, Any]) -> dict[str, Any]:
    return {
        "device": device_of(values["device"]),
        "memory": values["memory"],
        "session_options": pairs_of("--session-option", values["session_option"]),
        "provider_options": pairs_of("--provider-option", values["provider_option"]),
    }


loading = group(
    "load",
    {
        "device": click.option(
            "--device",
            shell_complete=completion.one_of(completion.devices),
            default="auto",
            show_default=True,
            help="auto, cpu, cuda, cuda:1, openvino, tensorrt, or comma-separated ONNX Runtime providers.",
        ),
        "memory": click.option(
            "--memory",
            shell_complete=completion.one_of(completion.memory_policies),
            default="fast",
            show_default=True,
            help="fast, or low: load one component at a time, map weights, decode large images in tiles.",
        ),
        "session_option": click.option(
            "--session-option", multiple=True, metavar="KEY=VALUE", help="ONNX Runtime session option; repeatable."
        ),
        "provider_option": click.option(
            "--provider-option", multiple=True, metavar="KEY=VALUE", help="Provider option; repeatable."
        ),
    },
    _load,
)
"""Adds the options of loading a package; the command gets arguments of `TextToImage.load` as `load`.

An option that is not KEY=VALUE is an ArgumentError.
"""


def _origin(values: dict[str, Any]) -> dict[str, Any]:
    loras, embeddings = values.pop("lora"), values.pop("embedding")
    return {**values, "loras": [weighted(each) for each in loras], "embeddings": embeddings}


sourcing = group(
    "origin",
    {
        "defaults": click.option(
            "--defaults",
            metavar="FILE",
            help="Defaults for the package (JSON or TOML); SOURCE/triptych-defaults.json if left out and present.",
        ),
        "revision": click.option("--revision", help="Branch, tag or commit of a hub id."),
        "variant": click.option("--variant", metavar="NAME", help="Variant of the weights, e.g. fp16."),
        "config": click.option(
            "--config", metavar="FOLDER", help="Configuration of a single file: a diffusers folder, or a family's name."
        ),
        "prediction_type": click.option(
            "--prediction-type",
            metavar="TYPE",
            help="Output of the U-Net: epsilon, v_prediction or sample; if left out, as SOURCE states.",
        ),
        "vae": click.option(
            "--vae", metavar="SOURCE", help="VAE to use instead of SOURCE's: a folder, file or hub id."
        ),
        "lora": click.option(
            "--lora",
            multiple=True,
            metavar="FILE[:WEIGHT]",
            help="Fuse a LoRA into the weights, by default at weight 1; repeatable.",
        ),
        "embedding": click.option(
            "--embedding", multiple=True, metavar="FILE[=TOKEN]", help="Add a textual inversion; repeatable."
        ),
        "clip_skip": click.option(
            "--clip-skip", default=0, show_default=True, help="Number of last layers of the text encoder to skip."
        ),
        "without": click.option(
            "--without",
            multiple=True,
            metavar="NAME",
            help="Leave out a text encoder: text_encoder_3, the T5 of Stable Diffusion 3.",
        ),
        "preview_decoder": click.option(
            "--preview-decoder", metavar="SOURCE", help="Add a tiny decoder for previews during generation."
        ),
    },
    _origin,
)
"""Adds the options of a checkpoint; the command gets arguments of `triptych.export.export` as `origin`."""


def _calibration(values: dict[str, Any]) -> dict[str, Any]:
    prompts = values["calibration_prompts"]
    return only_set(
        {
            "prompts": None if prompts is None else lines_of(prompts),
            "guidance_scale": values["calibration_guidance"],
            "steps": values["calibration_steps"],
        }
    )


calibrating = group(
    "calibration",
    {
        "calibration_prompts": click.option(
            "--calibration-prompts",
            type=_PATH,
            metavar="FILE",
            help="For int8: file of typical prompts for the model, one per line.",
        ),
        "calibration_guidance": click.option(
            "--calibration-guidance",
            type=float,
            metavar="SCALE",
            help="Guidance scale for the calibration; 7.5 if left out.",
        ),
        "calibration_steps": click.option(
            "--calibration-steps", type=int, help="Steps for the calibration; 20 if left out."
        ),
    },
    _calibration,
)
"""Adds the options of an int8 export; the command gets arguments of `triptych.export.CalibrationRun`."""


def device_of(name: str) -> str | list[str]:
    """A device name as it is; comma-separated names of ONNX Runtime providers as a list."""
    return name.split(",") if "Execution" in name else name
