"""Hooks of MkDocs: pages in docs/ are written to be read in the repository, too. mkdocs.yml names this file."""

import logging
import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

from links import in_repository, with_addresses

_ROOT = Path(__file__).parents[1]
_REPOSITORY = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]
_TITLED = re.compile(r"^```python (\w+)$", re.MULTILINE)
_MARKER = re.compile(r"^<!-- (needs|tested): .* -->\n+", re.MULTILINE)  # see tests/docs/blocks.py
_log = logging.getLogger("mkdocs.hooks")  # a warning here fails a strict build


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page as the site has it.

    Links that leave docs/ are absolute, the second word of a fence is the title of its block, and markers of blocks for
    the tests are left out: above a heading, they would hide it from the navigation.
    """
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def address(target: str) -> str:
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("docs/"):
            return target
        if not (_ROOT / path.partition("#")[0]).exists():
            _log.warning("%s: a link leads to %s, which the repository lacks", page.file.src_uri, path)
        return in_repository(path, _REPOSITORY, "main")

    return _TITLED.sub(r'```python title="\1"', with_addresses(_MARKER.sub("", markdown), address))
