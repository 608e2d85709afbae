"""What is generated from code is current. Stale? `make docs` writes it anew."""

import runpy
from pathlib import Path

from triptych.benchmarks.report import with_table

REPOSITORY = Path(__file__).parents[2]


def test_the_documentation_of_the_command_line_is_current() -> None:
    fresh = runpy.run_path(str(REPOSITORY / "docs" / "generate.py"))["text"]()
    assert fresh == (REPOSITORY / "docs" / "cli.md").read_text()


def test_the_figures_in_the_readme_are_those_of_the_results() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert with_table(readme) == readme
