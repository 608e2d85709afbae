"""Arguments of any type and value, in Python."""

from dataclasses import fields
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from triptych.runtime.errors import shown

from ..alter import HOSTILE
from ..attempt import Case
from ..inputs import Inputs


class _Unwritable:
    """A value of a caller's class that cannot be written out."""

    def __repr__(self) -> str:
        raise KeyError


_VALUES: tuple[Any, ...] = (
    *HOSTILE, 10**5000, [10**5000], _Unwritable(), {"beta_start": _Unwritable()}, {"beta_start": 10**400},
    *(np.dtype(kind).type(2) for kind in ("int8", "int64", "uint64", "float16", "float32", "bool")),
    np.arange(2), np.zeros(0), np.array(3), np.array([float("nan")]), np.zeros((1, 4, 8, 8), np.float32),
    np.zeros((1, 4, 8, 8), object), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 0, 3), np.uint8),
    Image.new("RGB", (64, 64)), Image.new("RGBA", (64, 64)), Image.new("I;16", (64, 64)), Image.new("L", (1, 1)),
    b"bytes", (1, 2), (2.0, 1.0), range(2), {1}, object(), complex(1, 1), "euler", "torch", lambda: 1, iter([1]),
    ["a", None], [7, "x"], "(" * 10_000, "[" * 2_000 + "x" + "]" * 2_000, "(x:1e400)", "(x:nan)", "BREAK " * 50,
)  # fmt: skip


def case(inputs: Inputs, random: Random) -> Case:
    """A call with one or two arguments replaced."""
    from triptych.runtime.request import Request

    names = [field.name for field in fields(Request)]
    changed = {random.choice(names): random.choice(_VALUES) for _ in range(random.choice((1, 1, 2)))}

    def run() -> None:
        from triptych.runtime import TextToImage

        pipe = TextToImage.load(inputs.package, device="cpu")
        pipe(**{"prompt": "fox", "num_inference_steps": 2, "height": 64, "width": 64, **changed})

    return Case(", ".join(f"{name}={shown(value):.40}" for name, value in changed.items()), run)
