"""Options that several commands share."""

import functools
from collections.abc import Callable
from typing import Any

import click

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
