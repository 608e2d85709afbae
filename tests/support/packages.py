"""Copies of packages with other files around the same graphs."""

import json
import os
from pathlib import Path
from typing import Any


def linked(source: Path, copy: Path, *, scheduler: dict[str, Any] | None = None, **index: Any) -> Path:
    """Link a package into a folder with another scheduler configuration or other index entries, without a manifest."""
    changed = {"model_index.json": json.loads((source / "model_index.json").read_text()) | index}
    if scheduler is not None:
        changed["scheduler/scheduler_config.json"] = scheduler
    copy.mkdir()
    for entry in source.iterdir():
        if entry.name != "triptych.json" and not any(name.startswith(entry.name) for name in changed):
            os.symlink(entry, copy / entry.name)
    for name, content in changed.items():
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text(json.dumps(content))
    return copy
