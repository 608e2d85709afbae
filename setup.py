"""README.md for package indexes, where links of a repository lead nowhere; everything else is in pyproject.toml."""

import sys
import tomllib
from functools import partial
from pathlib import Path

from setuptools import setup

sys.path.insert(0, "tools")

from links import in_repository, with_addresses

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
address = partial(in_repository, repository=project["urls"]["Repository"], revision=f"v{project['version']}")
setup(
    long_description=with_addresses(Path("README.md").read_text("utf-8"), address),
    long_description_content_type="text/markdown",
)
