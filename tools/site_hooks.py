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
_log = logging.getLogger("mkdocs.hooks")  # a warning here fails a strict build


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with links that leave docs/ made absolute, and a second word of a fence as the title of its block."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def address(target: str) -> str:
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("docs/"):
            return target
        if not (_ROOT / path.partition("#")[0]).exists():
            _log.warning("%s: a link leads to %s, which the repository lacks", page.file.src_uri, path)
        return in_repository(path, _REPOSITORY, "main")

    return _TITLED.sub(r'```python title="\1"', with_addresses(markdown, address))
