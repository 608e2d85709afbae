"""Groups of options, each as one argument of the command."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .cli_values import lines_of, weighted
from .errors import ArgumentError

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
        preview_decoder: str | None,
        **others: Any,
    ) -> None:
        origin = {
            "revision": revision,
            "variant": variant,
            "config": config,
            "vae": vae,
            "loras": [weighted(each) for each in lora],
            "preview_decoder": preview_decoder,
        }
        command(origin=origin, **others)

    for option in (
        click.option(
            "--preview-decoder", metavar="SOURCE", help="Add a tiny decoder, to look at pictures in the making."
        ),
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
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="For int8: prompts as the model is used with, one a line.",
        ),
    ):
        with_calibration = option(with_calibration)
    return with_calibration


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
