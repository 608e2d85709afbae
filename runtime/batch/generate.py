"""Images of rows: rows with compatible settings share a call, and a row that fails does not affect the others."""

import json
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import TriptychError
from ..image.files import read_image
from ..pipeline import TextToImage
from ..request import Request
from ..tasks.batching import EACH, IMAGES, SEEDS, key_of, run
from .rows import Row


@dataclass(frozen=True)
class GeneratedImage:
    """Result of a row: a PNG, or the reason for its failure; `seconds` is its share of the call."""

    id: str
    png: bytes | None
    reason: str = ""
    seconds: float = 0.0


def reason_of(error: Exception) -> str:
    """Text of an error for the table of results."""
    return str(error) if isinstance(error, TriptychError) else f"{type(error).__name__}: {error}"


def units_of(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """Group rows of equal settings into units of at most `size` rows, which an engine runs together."""

    def shared_settings(row: Row) -> str:
        settings = {name: name if name in (*EACH, *SEEDS) else value for name, value in row.settings.items()}
        return json.dumps(settings, sort_keys=True)

    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(shared_settings(row), []).append(row)
    return [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]


def generate(pipe: TextToImage, unit: Sequence[Row], folder: Path) -> Iterator[GeneratedImage]:
    """Generate the images of a unit in as few calls as possible; file names in rows are relative to `folder`."""
    calls: dict[Hashable, list[tuple[Row, Request]]] = {}
    for row in unit:
        try:
            images = {name: read_image(folder / row.settings[name]) for name in IMAGES if name in row.settings}
            request = Request(**(row.settings | images))
            calls.setdefault(key_of(pipe, request), []).append((row, request))
        except Exception as error:
            yield GeneratedImage(row.id, None, reason_of(error))
    for call in calls.values():
        yield from _generate(pipe, call)


def _generate(pipe: TextToImage, call: Sequence[tuple[Row, Request]]) -> Iterator[GeneratedImage]:
    start = time.perf_counter()
    try:
        images = run(pipe, [request for _, request in call])
    except Exception as error:  # of any class: only these rows fail, and the others still run
        if len(call) == 1:
            yield GeneratedImage(call[0][0].id, None, reason_of(error), time.perf_counter() - start)
            return
        for single in call:
            yield from _generate(pipe, [single])
        return
    seconds = (time.perf_counter() - start) / len(call)
    for (row, _), image in zip(call, images, strict=True):
        yield GeneratedImage(row.id, _png(image), seconds=seconds)


def _png(image: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
