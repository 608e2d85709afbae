"""Links of Markdown files, for places where links to files of the repository lead nowhere: an index, the site."""

import re
from collections.abc import Callable

_LINK = re.compile(
    r"""(!?)\[((?:!\[[^\]]*\]\([^)]*\)|[^\]])*)\]\((?![a-z]+:|#)([^)\s]+)\)|(src)="(?![a-z]+:)([^"]+)\""""
)
_IMAGES = (".png", ".gif", ".jpg", ".svg", ".webp")


def with_addresses(text: str, address: Callable[[str], str]) -> str:
    """Text of a Markdown file; `address` gives the new target of each relative link from the old one."""

    def replaced(link: re.Match[str]) -> str:
        target = address(link[3] or link[5])
        return f'src="{target}"' if link[4] else f"{link[1]}[{with_addresses(link[2], address)}]({target})"

    return _LINK.sub(replaced, text)


def in_repository(path: str, repository: str, revision: str) -> str:
    """Address of a file of the repository: of an image as a file, of others as a page."""
    return f"{repository}/{'raw' if path.endswith(_IMAGES) else 'blob'}/{revision}/{path}"
