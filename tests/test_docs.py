"""What is generated from code is current. Stale? `make docs` writes it anew."""

import re
import runpy
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support import tiny_package
from triptych.benchmarks.recorded import peers_page as peers
from triptych.benchmarks.recorded import readme as readme_figures
from triptych.benchmarks.recorded import report
from triptych.runtime import TextToImage
from triptych.runtime.sampling.listing import names

REPOSITORY = Path(__file__).parents[1]


def test_the_documentation_of_the_command_line_is_current() -> None:
    fresh = runpy.run_path(str(REPOSITORY / "docs" / "generate.py"))["text"]()
    assert fresh == (REPOSITORY / "docs" / "cli.md").read_text()


def test_the_documentation_of_the_schedulers_is_current() -> None:
    fresh = runpy.run_path(str(REPOSITORY / "docs" / "generate.py"))["schedulers"]()
    assert fresh == (REPOSITORY / "docs" / "schedulers.md").read_text()
    with Image.open(REPOSITORY / "docs" / "schedulers.png") as drawn:
        assert drawn.info["Title"] == ", ".join(names())


def test_the_reference_of_python_is_current() -> None:
    page = (REPOSITORY / "docs" / "python.md").read_text()
    assert runpy.run_path(str(REPOSITORY / "docs" / "reference.py"))["reference"](page) == page


def test_images_of_the_demo_model_have_the_defaults_of_its_package(tmp_path: Path) -> None:
    defaults = {"num_inference_steps": 3, "guidance_scale": 2.5, "scheduler": "euler"}
    pipe = TextToImage.load(tiny_package.write(tmp_path / "tiny", defaults=defaults), device="cpu")
    frames = runpy.run_path(str(REPOSITORY / "docs" / "denoising.py"))["frames"](pipe, "a red fox")
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[-1], np.asarray(pipe("a red fox", seed=3).images[0]))
    for name in ("denoising.py", "tasks.py", "page.py"):
        assert not re.search("num_inference_steps|guidance_scale", (REPOSITORY / "docs" / name).read_text()), name


def test_the_families_in_the_readme_are_those_of_the_code() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert runpy.run_path(str(REPOSITORY / "docs" / "generate.py"))["families"](readme) == readme


def test_the_launches_in_the_page_of_cuda_are_those_recorded() -> None:
    page = (REPOSITORY / "docs" / "cuda.md").read_text()
    assert runpy.run_path(str(REPOSITORY / "docs" / "generate.py"))["launches"](page) == page


def test_figures_in_readme_and_documentation_are_those_recorded() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert readme_figures.with_figures(readme) == readme
    assert report.page() == (REPOSITORY / "docs" / "benchmarks.md").read_text()
    page = (REPOSITORY / "docs" / "installation.md").read_text()
    assert report.with_extras(page) == page
    page = (REPOSITORY / "docs" / "packages.md").read_text()
    assert report.with_int8_speed(page) == page


def test_the_page_of_peers_is_that_of_the_recorded_figures() -> None:
    assert peers.page() == peers.PAGE.read_text()
