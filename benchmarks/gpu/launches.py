"""Launches of a call of each graph, counted without a GPU.

ONNX Runtime's CUDA library ran over a stand-in for CUDA's own libraries, which logs what is launched: the counts depend
on the graph and the library alone. They are those of Stable Diffusion 1.5 in the cuda operator set, fp16, 512x512, one
image with guidance.
"""

import json
from pathlib import Path
from typing import Any

from . import kit

RECORDED = Path(__file__).with_name("launches.json")
"""Component, or `step graph` -> `kernels` and `copies` (with memsets) of one call; and what they were counted with."""


def recorded() -> dict[str, Any]:
    """What is in RECORDED."""
    return dict(json.loads(RECORDED.read_text()))


def of(name: str) -> dict[str, int] | None:
    """Launches of a call of a component; None for another model or size, or where none were counted."""
    here = kit.settings()
    if not (here.full and here.model == "sd15"):
        return None
    found: dict[str, int] | None = recorded()["launches"].get(name)
    return found
