"""README.md for package indexes, where links of a repository lead nowhere; everything else is in pyproject.toml."""

import re
import tomllib
from pathlib import Path

from setuptools import setup

_LINK = re.compile(
    r"""(!?)\[((?:!\[[^\]]*\]\([^)]*\)|[^\]])*)\]\((?![a-z]+:|#)([^)\s]+)\)|(src)="(?![a-z]+:)([^"]+)\""""
)
_IMAGES = (".png", ".gif", ".jpg", ".svg", ".webp")


def absolute(text: str, repository: str, tag: str) -> str:
    """Text of a Markdown file with its links to files made absolute: images as files, others as pages."""

    def replaced(link: re.Match[str]) -> str:
        path = link[3] or link[5]
        kind = "raw" if path.endswith(_IMAGES) else "blob"
        address = f"{repository}/{kind}/{tag}/{path}"
        return f'src="{address}"' if link[4] else f"{link[1]}[{absolute(link[2], repository, tag)}]({address})"

    return _LINK.sub(replaced, text)


project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
setup(
    long_description=absolute(
        Path("README.md").read_text("utf-8"), project["urls"]["Repository"], f"v{project['version']}"
    ),
    long_description_content_type="text/markdown",
)
