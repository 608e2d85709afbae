"""Write the reference in docs/python.md, from docstrings and signatures. python docs/reference.py"""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from triptych.runtime import Output, Step, TextToImage, errors
from triptych.runtime.request import Request
from triptych.runtime.stream import AsyncStream, Stream

PAGE = Path(__file__).parent / "python.md"
START = "<!-- reference -->\n"
CALLS = ("__call__", "stream", "agenerate", "astream")
METHODS = ("load", *CALLS, "preview", "close", "generate", "plan", "encode", "denoise", "encode_image", "decode")

_TITLES = ("Args", "Attributes", "Returns", "Yields", "Raises")
_ITEM = re.compile(r"^([\w, ]+): (.*)$")


def reference(page: str) -> str:
    """The page with a current reference after its marker."""
    parts = [page.split(START)[0] + START]
    parts += ["## TextToImage\n", *_described(TextToImage)]
    for name in METHODS:
        parts += [f"### {_signature(name)}\n", *_described(getattr(TextToImage, name))]
    parts += ["## Arguments of a call\n", *_arguments()]
    for kind in (Output, Step, Stream, AsyncStream):
        parts += [f"## {kind.__name__}\n", *_described(kind), *_members(kind)]
    parts += ["## Errors and warnings\n", f"```text\n{(errors.__doc__ or '').strip()}\n```\n"]
    return "\n".join(parts)


def _signature(name: str) -> str:
    shown = {"__call__": "pipe", "load": "TextToImage.load"}.get(name, f"pipe.{name}")
    if name in CALLS:
        return f"`{shown}(prompt, *, ...)`"
    parameters = list(inspect.signature(getattr(TextToImage, name)).parameters.values())
    listed = [each.name if each.default is each.empty else f"{each.name}={each.default!r}" for each in parameters]
    keywords = [each.kind is each.KEYWORD_ONLY for each in parameters]
    if any(keywords):
        listed.insert(keywords.index(True), "*")
    return f"`{shown}({', '.join(each for each in listed if each != 'self')})`"


def _described(documented: Callable[..., Any]) -> Iterator[str]:
    """Text of a docstring, and a list for each of its sections."""
    text, sections = _sections(documented)
    yield f"{text}\n"
    for title, items in sections.items():
        yield f"{title}:\n"
        yield "\n".join(f"- `{names}`: {each}" if names else f"- {each}" for names, each in items) + "\n"


def _members(kind: type) -> Iterator[str]:
    """Properties and methods of a class that its docstring does not list."""
    for name, member in vars(kind).items():
        documented = member.fget if isinstance(member, property) else member
        if not name.startswith("_") and inspect.isfunction(documented):
            text = " ".join(_sections(documented)[0].split())
            yield f"- `{name}{'' if isinstance(member, property) else '()'}`: {text}"
    yield ""


def _arguments() -> Iterator[str]:
    text, sections = _sections(Request)
    defaults = {each.name: "" if each.default is MISSING else f"`{each.default!r}`" for each in fields(Request)}
    rows = [
        (", ".join(f"`{name}`" for name in names.split(", ")), defaults[names.split(", ")[0]], each)
        for names, each in sections["Attributes"]
    ]
    yield f"{text}\n"
    yield "\n".join(f"| {' | '.join(row)} |" for row in (("argument", "default", ""), ("---",) * 3, *rows)) + "\n"


def _sections(documented: Callable[..., Any]) -> tuple[str, dict[str, list[tuple[str, str]]]]:
    """The text of a docstring, and its sections: title -> (names, text) of each item."""
    text: list[str] = []
    sections: dict[str, list[tuple[str, str]]] = {}
    items: list[tuple[str, str]] | None = None
    for line in (inspect.getdoc(documented) or "").splitlines():
        if line.rstrip(":") in _TITLES and line.endswith(":"):
            items = sections.setdefault(line.rstrip(":"), [])
        elif items is None:
            text.append(line)
        elif line.startswith("        ") and items:
            names, before = items[-1]
            items[-1] = names, f"{before} {line.strip()}"
        elif line.strip():
            found = _ITEM.match(line.strip())
            items.append((found[1], found[2]) if found else ("", line.strip()))
    return "\n".join(text).strip(), sections


if __name__ == "__main__":
    PAGE.write_text(reference(PAGE.read_text()))
