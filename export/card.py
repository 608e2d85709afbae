"""Use of a package: its defaults in the manifest, and its card, README.md, for people and for the hub.

The card is not in the manifest's list of files, and may be edited.
"""

import json
import shlex
from pathlib import Path
from typing import Any

from triptych.runtime.families.family import TEXT_TO_IMAGE
from triptych.runtime.package.manifest import MANIFEST

from .checkpoint import Checkpoint
from .files import write_json
from .options import Options
from .sources import read_json

CARD = "README.md"

_EXAMPLES = 4


def write_defaults(folder: Path, options: Options) -> None:
    """Add the stated defaults to the manifest of the package in a folder, if there are any."""
    defaults = options.stated.defaults.as_json()
    if defaults:
        write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"defaults": defaults})


def write_card(folder: Path, package: str, checkpoint: Checkpoint, options: Options) -> None:
    """Write the card into the folder of a package: the stated one, or else a generated one.

    Args:
        folder: to write to.
        package: name of the package.
        checkpoint: that it is exported from.
        options: of the export.
    """
    stated = options.stated.card
    text = _generated(package, checkpoint, options) if stated is None else stated
    (folder / CARD).write_text(text, encoding="utf-8")


def _generated(package: str, checkpoint: Checkpoint, options: Options) -> str:
    defaults = options.stated.defaults
    task = (defaults.tasks or (checkpoint.family.tasks[0].replace(" ", "-"),))[0]
    front = [
        "---",
        *([] if defaults.license is None else [f"license: {_yaml(defaults.license)}"]),
        "library_name: triptych",
        f"pipeline_tag: {'image-to-image' if task == 'editing' else task}",
        "tags: [onnx, triptych]",
        "---",
    ]
    about = (
        f"ONNX graphs of {checkpoint.name} ({checkpoint.family.name}), exported by Triptych: "
        f"{options.precision.name}, operator set {options.dialect.name}. They run on ONNX Runtime, without PyTorch."
    )
    lines = [*front, "", f"# {package}", "", about]
    if TEXT_TO_IMAGE in checkpoint.family.tasks:
        prompt = defaults.example_prompts[0] if defaults.example_prompts else "a photo of a fox"
        lines += ["", f"    triptych generate {shlex.quote(package)} {shlex.quote(prompt)}"]
    arguments = defaults.arguments()
    if arguments:
        lines += [
            "",
            "| default | value |",
            "|---|---|",
            *(f"| {name} | {_cell(arguments[name])} |" for name in arguments),
        ]
    if defaults.example_prompts:
        lines += ["", "Example prompts:", "", *(f"- {_line(text)}" for text in defaults.example_prompts[:_EXAMPLES])]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return _line(str(value)).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())


def _yaml(text: str) -> str:
    """A text as a YAML scalar: JSON's strings are YAML's, too."""
    return text if text.replace("-", "").replace(".", "").isalnum() else json.dumps(text)
