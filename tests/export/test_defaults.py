"""Defaults of a package: a file of the user, or of the checkpoint folder, checked before anything is exported."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from triptych.export import export
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import StaticShape
from triptych.export.defaults import FILE, StatedDefaults, stated_defaults
from triptych.export.options import checked_options
from triptych.runtime.errors import SourceError
from triptych.runtime.package.defaults import Defaults
from triptych.runtime.package.package import open_package

STATED = {"num_inference_steps": 20, "guidance_scale": 2.5, "scheduler": "euler", "example_prompts": ["a fox"]}
TOML = """
num_inference_steps = 20
guidance_scale = 2.5
scheduler = "euler"
example_prompts = ["a fox"]
"""


def written(folder: Path, text: str | dict[str, Any], name: str = "defaults.json") -> Path:
    (folder / name).write_text(text if isinstance(text, str) else json.dumps(text))
    return folder / name


def test_json_and_toml_state_the_same(checkpoint: Path, tmp_path: Path) -> None:
    expected = StatedDefaults(Defaults(20, 2.5, scheduler="euler", example_prompts=("a fox",)))
    assert stated_defaults(checkpoint, written(tmp_path, STATED)) == expected
    assert stated_defaults(checkpoint, written(tmp_path, TOML, "defaults.toml")) == expected


def test_a_checkpoint_folder_may_state_its_own(checkpoint: Path, tmp_path: Path) -> None:
    assert stated_defaults(checkpoint, None) == StatedDefaults()
    assert stated_defaults("owner/name", None) == StatedDefaults()
    written(tmp_path, STATED, FILE)
    assert stated_defaults(tmp_path, None).defaults.num_inference_steps == 20
    another = written(tmp_path, {"num_inference_steps": 4})
    assert stated_defaults(tmp_path, another).defaults == Defaults(4), "the file of the option is the only one"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"steps": 20}, "unknown key steps; allowed: num_inference_steps, .*, card$"),
        ({"guidance_scal": 2.5}, r"unknown key guidance_scal; did you mean guidance_scale\?"),
        ({"guidance_scale": "high"}, "guidance_scale is 'high'; it should be a finite number"),
        ({"scheduler": "eulr"}, "scheduler is 'eulr'; it should be a name that"),
        ({"card": "absent.md"}, r"absent\.md does not exist"),
        ("{", "cannot be read as JSON"),
        ("[]", "should hold a JSON object, not a list"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    checkpoint: Path, tmp_path: Path, text: str | dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message) as error:
        export(checkpoint, tmp_path / "package", defaults=written(tmp_path, text))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "package").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.json", "does not exist"), ("defaults.yaml", r"read from a \.json or \.toml"), ("broken.toml", "as TOML")],
)
def test_files_that_hold_no_defaults_are_named(checkpoint: Path, tmp_path: Path, name: str, message: str) -> None:
    written(tmp_path, "= 3", "broken.toml")
    with pytest.raises(SourceError, match=rf"{name}.*{message}"):
        stated_defaults(checkpoint, tmp_path / name)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (Defaults(tasks=("editing",)), "tasks has editing, which stable-diffusion does not do"),
        (Defaults(width=60), "width=60; allowed: multiples of 8"),
        (Defaults(scheduler="flow_euler"), "defaults: "),
        (Defaults(scheduler="euler", scheduler_options={"no_such": 1}), "defaults: .*no_such"),
        (Defaults(num_inference_steps=2000), "defaults: num_inference_steps=2000"),
    ],
)
def test_defaults_that_the_checkpoint_cannot_use_are_refused(checkpoint: Path, stated: Defaults, message: str) -> None:
    opened = open_checkpoint(checkpoint)
    options = checked_options("fp32", "portable", None, None, False, StatedDefaults(stated))
    with pytest.raises(SourceError, match=message):
        options.for_checkpoint(opened)


def test_graphs_of_fixed_shapes_have_no_other_size(checkpoint: Path) -> None:
    stated = StatedDefaults(Defaults(guidance_scale=3.0, width=64, height=64))
    options = checked_options("fp32", "portable", None, None, False, stated)
    fixed = replace(options, static=StaticShape(2, 128, 128)).for_checkpoint(open_checkpoint(checkpoint))
    assert fixed.stated.defaults == Defaults(guidance_scale=3.0)


def test_a_package_carries_its_defaults_and_a_card(checkpoint: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(checkpoint, tmp_path / "source"))
    written(source, STATED | {"license": "mit"}, FILE)
    package = open_package(export(source, tmp_path / "package", dialect="portable"))
    assert package.manifest.defaults.as_json() == STATED | {"license": "mit"}
    assert "psnr_db" in package.manifest.recorded["quality"]["image"], "verified with the scheduler of the checkpoint"
    card = (package.path / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n")
    assert "triptych generate package 'a fox'" in card
    assert "| guidance_scale | 2.5 |" in card
    (package.path / "README.md").write_text("Edited.")
    assert "README.md" not in list(open_package(package.path).verify()), "it may be edited"

    (tmp_path / "card.md").write_text("# A card\n")
    own = written(tmp_path, {"guidance_scale": 3, "card": "card.md"})
    again = open_package(export(source, tmp_path / "package", dialect="portable", defaults=own, force=True))
    assert again.manifest.defaults.as_json() == {"guidance_scale": 3.0}
    assert (again.path / "README.md").read_text() == "# A card\n"
    assert again.fingerprint == package.fingerprint, "settings of images hold the values: the files are the same"
