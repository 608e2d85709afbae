"""Conversion of cells of a file of jobs, typed or text, to arguments of `Request`."""

import json
import math
from collections.abc import Callable
from typing import Any


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    """A whole number, also from 7.0 or its text: columns with gaps are often written as floats."""
    if isinstance(value, str):
        value = int(value) if value.strip().removeprefix("-").isdecimal() else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _list(value: Any) -> list[Any]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list):
        raise TypeError
    return parts


def _wholes(value: Any) -> list[int]:
    return [_whole(part) for part in _list(value)]


def _numbers(value: Any) -> list[float]:
    return [_number(part) for part in _list(value)]


def _number_or_numbers(value: Any) -> float | list[float]:
    return _numbers(value) if isinstance(value, list) or "," in str(value) else _number(value)


def _numbers_or_name(value: Any) -> list[float] | str:
    if isinstance(value, str):
        try:
            return _numbers(value)
        except ValueError:
            if "," in value:
                raise
            return value
    return _numbers(value)


def _options(value: Any) -> dict[str, Any]:
    """A JSON object or its text; null stands for a missing option, as in columns of structures."""
    try:
        options = json.loads(value) if isinstance(value, str) else value
    except RecursionError:
        raise ValueError from None
    if not isinstance(options, dict):
        raise TypeError
    return {name: each for name, each in options.items() if each is not None}


_TEXT = _text, "a text"
_FILE = _text, "the name of a file"
_WHOLE = _whole, "a whole number"
_NUMBER = _number, "a finite number"
_WHOLES = _wholes, "a list of whole numbers"
_NUMBERS = _numbers, "a list of finite numbers"
_GRID = _numbers_or_name, "a list of finite numbers, or a name"

VALUES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "prompt": _TEXT,
    "prompt_2": _TEXT,
    "prompt_3": _TEXT,
    "negative_prompt": _TEXT,
    "negative_prompt_2": _TEXT,
    "negative_prompt_3": _TEXT,
    "image": _FILE,
    "mask_image": _FILE,
    "strength": _NUMBER,
    "num_inference_steps": _WHOLE,
    "guidance_scale": (_number_or_numbers, "a finite number, or a list of them"),
    "image_guidance_scale": _NUMBER,
    "guidance_rescale": _NUMBER,
    "guidance_interval": _NUMBERS,
    "guidance_projection": _NUMBERS,
    "denoising_start": _NUMBER,
    "denoising_end": _NUMBER,
    "eta": _NUMBER,
    "timesteps": _GRID,
    "sigmas": _GRID,
    "seed": _WHOLE,
    "variation_seed": _WHOLE,
    "variation_strength": _NUMBER,
    "height": _WHOLE,
    "width": _WHOLE,
    "original_size": _WHOLES,
    "crops_coords_top_left": _WHOLES,
    "target_size": _WHOLES,
    "aesthetic_score": _NUMBER,
    "negative_aesthetic_score": _NUMBER,
    "scheduler": _TEXT,
    "scheduler_options": (_options, "a JSON object"),
    "noise": _TEXT,
}
"""Argument of `Request` -> a function that converts a cell, and a description of allowed cells.

The function raises ValueError, TypeError or OverflowError for other cells.
"""

LEFT_OUT = {
    "num_images_per_prompt": "a row is one image",
    "latents": "an array of the caller's process",
    "prompt_embeds": "an array of the caller's process",
    "negative_prompt_embeds": "an array of the caller's process",
}
"""Arguments of `Request` that have no column -> the reason."""
