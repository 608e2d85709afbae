"""Blocks of code of a Markdown page, each with the marker before it.

```sh and ```python blocks are executed, ```text, ```json and other data is not. A line before a block that cannot be
executed here says why:

    <!-- needs: hub -->        or gpu, or cluster
    <!-- tested: PATH -->      a test that executes it

As the first line of a page, it holds for all blocks of the page.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt

EXECUTED = ("python", "sh")
DATA = ("bibtex", "csv", "json", "text", "toml", "yaml")
NEEDS = ("cluster", "gpu", "hub")

_MARKER = re.compile(r"<!-- (needs|tested): (\S+) -->\n?")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: the first word after the fence; empty without one, and for an indented block.
        text: the code.
        line: number of its first line in the page.
        needs: what it needs and the tests lack, if marked so.
        tested: path of the test that executes it, if marked so.
    """

    language: str
    text: str
    line: int
    needs: str | None = None
    tested: str | None = None

    @property
    def executed(self) -> bool:
        """Whether it is executed by the test of its page."""
        return self.language in EXECUTED and self.needs is None and self.tested is None


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in order.

    Raises:
        ValueError: a marker that stands before something else.
    """
    whole: dict[str, str] = {}
    marker: dict[str, str] = {}
    for number, token in enumerate(MarkdownIt("commonmark").parse(page)):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            fence = token.type == "fence"
            language = token.info.partition(" ")[0].strip() if fence else ""
            yield Block(language, token.content, token.map[0] + 1 + fence, **(marker or whole))
            marker = {}
        elif marker:
            raise ValueError(f"a marker before something else than a block: {marker}")
        elif token.type == "html_block" and (found := _MARKER.fullmatch(token.content)):
            marker = {found[1]: found[2]}
            if number == 0:
                whole, marker = marker, {}
    if marker:
        raise ValueError(f"a marker at the end of the page: {marker}")
