"""Groups of options, each as one argument of the command."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..arguments import lines_of, size_of
from ..errors import ArgumentError
from ..image.inputs import read_picture
from .values import weighted

_PATH = click.Path(path_type=Path)
WIDTH = click.option("--width", type=int, help="Pixels; the package's own if left out.")
HEIGHT = click.option("--height", type=int, help="Pixels; the package's own if left out.")


def loading(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where and how a package is loaded; the command gets them as `load`.

    `load` holds arguments of `TextToImage.load`; an option that is no KEY=VALUE is an ArgumentError.
    """

    @functools.wraps(command)
    def with_load(
        device: str, memory: str, session_option: tuple[str, ...], provider_option: tuple[str, ...], **others: Any
    ) -> None:
        load = {
            "device": _device(device),
            "memory": memory,
            "session_options": _pairs(session_option),
            "provider_options": _pairs(provider_option),
        }
        command(load=load, **others)

    for option in (
        click.option(
            "--provider-option", multiple=True, metavar="KEY=VALUE", help="Option of the provider; repeatable."
        ),
        click.option(
            "--session-option", multiple=True, metavar="KEY=VALUE", help="ONNX Runtime session option; repeatable."
        ),
        click.option(
            "--memory",
            default="fast",
            show_default=True,
            help="fast, or low: one component at a time, weights mapped, large pictures decoded in tiles.",
        ),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="auto, cpu, cuda, cuda:1, openvino, tensorrt, or ONNX Runtime providers with commas between them.",
        ),
    ):
        with_load = option(with_load)
    return with_load


def sourcing(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what is exported beside SOURCE; the command gets those given as `origin`.

    `origin` holds arguments of `triptych.export.export`.
    """

    @functools.wraps(command)
    def with_origin(
        revision: str | None,
        variant: str | None,
        config: str | None,
        vae: str | None,
        lora: tuple[str, ...],
        embedding: tuple[str, ...],
        clip_skip: int,
        preview_decoder: str | None,
        **others: Any,
    ) -> None:
        origin = {
            "revision": revision,
            "variant": variant,
            "config": config,
            "vae": vae,
            "loras": [weighted(each) for each in lora],
            "embeddings": embedding,
            "clip_skip": clip_skip,
            "preview_decoder": preview_decoder,
        }
        command(origin=origin, **others)

    for option in (
        click.option(
            "--preview-decoder", metavar="SOURCE", help="Add a tiny decoder, to look at pictures in the making."
        ),
        click.option(
            "--clip-skip", default=0, show_default=True, help="Leave out so many last layers of the text encoder."
        ),
        click.option("--embedding", multiple=True, metavar="FILE[=TOKEN]", help="Add a learned word; repeatable."),
        click.option(
            "--lora",
            multiple=True,
            metavar="FILE[:WEIGHT]",
            help="Fuse a LoRA into the weights, at weight 1 if left out; repeatable.",
        ),
        click.option(
            "--vae", metavar="SOURCE", help="An autoencoder in place of SOURCE's own: folder, file or hub id."
        ),
        click.option(
            "--config", metavar="FOLDER", help="What a single file is: a diffusers folder, or a family's name."
        ),
        click.option("--variant", metavar="NAME", help="Which weights of a folder or hub id, such as fp16."),
        click.option("--revision", help="Branch, tag or commit of a hub id."),
    ):
        with_origin = option(with_origin)
    return with_origin


def calibrating(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what an int8 export draws first; the command gets those given as `calibration`.

    `calibration` holds arguments of `triptych.export.CalibrationRun`.
    """

    @functools.wraps(command)
    def with_calibration(
        calibration_prompts: Path | None,
        calibration_guidance: float | None,
        calibration_steps: int | None,
        **others: Any,
    ) -> None:
        calibration = {
            "prompts": None if calibration_prompts is None else lines_of(calibration_prompts),
            "guidance_scale": calibration_guidance,
            "steps": calibration_steps,
        }
        command(calibration={name: value for name, value in calibration.items() if value is not None}, **others)

    for option in (
        click.option("--calibration-steps", type=int, help="Its steps; 20 if left out."),
        click.option("--calibration-guidance", type=float, metavar="SCALE", help="Its guidance; 7.5 if left out."),
        click.option(
            "--calibration-prompts",
            type=_PATH,
            metavar="FILE",
            help="For int8: prompts as the model is used with, one a line.",
        ),
    ):
        with_calibration = option(with_calibration)
    return with_calibration


def conditioning(command: Callable[..., None]) -> Callable[..., None]:
    """The options that only some families take; the command gets those given as `conditioning`.

    `conditioning` holds arguments of `TextToImage.__call__`.
    """

    @functools.wraps(command)
    def with_conditioning(
        prompt_2: str | None,
        negative_2: str | None,
        original_size: str | None,
        target_size: str | None,
        crop: str | None,
        aesthetic: float | None,
        negative_aesthetic: float | None,
        **others: Any,
    ) -> None:
        given = {
            "prompt_2": prompt_2,
            "negative_prompt_2": negative_2,
            "original_size": _height_and_width("--original-size", original_size),
            "target_size": _height_and_width("--target-size", target_size),
            "crops_coords_top_left": None if crop is None else size_of("--crop", crop)[::-1],
            "aesthetic_score": aesthetic,
            "negative_aesthetic_score": negative_aesthetic,
        }
        command(conditioning={name: value for name, value in given.items() if value is not None}, **others)

    for option in (
        click.option(
            "--negative-aesthetic", type=float, metavar="SCORE", help="Likewise, of what to avoid; 2.5 if left out."
        ),
        click.option(
            "--aesthetic", type=float, metavar="SCORE", help="What SDXL's refiner is told, from 0 to 10; 6 if left out."
        ),
        click.option("--target-size", metavar="WIDTHxHEIGHT", help="Likewise: the size that is wanted."),
        click.option("--crop", metavar="LEFTxTOP", help="Likewise: the corner where it was cropped."),
        click.option(
            "--original-size", metavar="WIDTHxHEIGHT", help="What SDXL is told of the picture: its first size."
        ),
        click.option("--negative-2", help="Likewise, what to avoid."),
        click.option("--prompt-2", help="What the second text encoder reads, in place of PROMPT."),
    ):
        with_conditioning = option(with_conditioning)
    return with_conditioning


def beginning(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what a picture begins from; the command gets those given as `beginning`.

    `beginning` holds arguments of `TextToImage.__call__`.
    """

    @functools.wraps(command)
    def with_beginning(
        image: Path | None,
        mask: Path | None,
        strength: float | None,
        image_guidance: float | None,
        **others: Any,
    ) -> None:
        given = {
            "image": image and read_picture(image),
            "mask_image": mask and read_picture(mask),
            "strength": strength,
            "image_guidance_scale": image_guidance,
        }
        command(beginning={name: value for name, value in given.items() if value is not None}, **others)

    for option in (
        click.option(
            "--image-guidance", type=float, help="Of models that edit it, how much it counts; 1.5 if left out."
        ),
        click.option("--strength", type=float, help="How much of it may change, above 0 to 1."),
        click.option("--mask", type=_PATH, metavar="FILE", help="Light where it is to be drawn anew."),
        click.option("--image", type=_PATH, metavar="FILE", help="A picture to begin from."),
    ):
        with_beginning = option(with_beginning)
    return with_beginning


def walking(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a walk from prompt to prompt or from seed to seed; the command gets those given as `walk`.

    `walk` holds arguments of `interpolation.walk`.
    """

    @functools.wraps(command)
    def with_walk(walk: int | None, to_seed: int | None, **others: Any) -> None:
        if walk is None and to_seed is not None:
            raise ArgumentError("--to-seed is the end of a walk; give --walk, too")
        command(walk=None if walk is None else {"pictures": walk, "to_seed": to_seed}, **others)

    for option in (
        click.option("--to-seed", type=int, help="With --walk: the seed at its end, if it is another."),
        click.option("--walk", type=int, metavar="N", help="Make N pictures on the way from each PROMPT to the next."),
    ):
        with_walk = option(with_walk)
    return with_walk


def _height_and_width(option: str, text: str | None) -> tuple[int, int] | None:
    return None if text is None else size_of(option, text)[::-1]


def _pairs(options: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals):
            raise ArgumentError(f"option {option!r}: give KEY=VALUE")
        pairs[key] = value
    return pairs


def _device(name: str) -> str | list[str]:
    """A device name as it is; ONNX Runtime provider names, with commas between them, as a list."""
    return name.split(",") if "Execution" in name else name
