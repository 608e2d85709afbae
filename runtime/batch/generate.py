"""Rows to pictures: those that can share a call do, and one that fails does not take others with it."""

import json
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import TriptychError
from ..image.inputs import read_image
from ..pipeline import TextToImage
from ..request import Request
from ..tasks.batching import EACH, IMAGES, key_of, run
from .rows import Row


@dataclass(frozen=True)
class Made:
    """What became of a row: a PNG, or the reason why there is none; `seconds` are its share of the call."""

    id: str
    picture: bytes | None
    reason: str = ""
    seconds: float = 0.0


def reason_of(error: Exception) -> str:
    """What the table says of an error."""
    return str(error) if isinstance(error, TriptychError) else f"{type(error).__name__}: {error}"


def units_of(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """Rows whose settings are alike side by side, `size` at most in a unit: what an engine makes at a time."""

    def alike(row: Row) -> str:
        own = {name: name if name in EACH else value for name, value in row.settings.items() if name != "seed"}
        return json.dumps(own, sort_keys=True)

    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(alike(row), []).append(row)
    return [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]


def make(pipe: TextToImage, unit: Sequence[Row], folder: Path) -> Iterator[Made]:
    """The pictures of a unit, in as few calls as can be; files that rows name are relative to `folder`."""
    calls: dict[Hashable, list[tuple[Row, Request]]] = {}
    for row in unit:
        try:
            images = {name: read_image(folder / row.settings[name]) for name in IMAGES if name in row.settings}
            request = Request(**(row.settings | images))
            calls.setdefault(key_of(pipe, request), []).append((row, request))
        except Exception as error:
            yield Made(row.id, None, reason_of(error))
    for call in calls.values():
        yield from _make(pipe, call)


def _make(pipe: TextToImage, call: Sequence[tuple[Row, Request]]) -> Iterator[Made]:
    start = time.perf_counter()
    try:
        images = run(pipe, [request for _, request in call])
    except Exception as error:  # of whatever kind: it is these rows', and the others are still to be made
        if len(call) == 1:
            yield Made(call[0][0].id, None, reason_of(error), time.perf_counter() - start)
            return
        for alone in call:
            yield from _make(pipe, [alone])
        return
    seconds = (time.perf_counter() - start) / len(call)
    for (row, _), image in zip(call, images, strict=True):
        yield Made(row.id, _png(image), seconds=seconds)


def _png(image: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
