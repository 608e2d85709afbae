"""The words of the house in documentation, help, docstrings and messages: plain technical English."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from triptych.runtime.cli.commands import cli

REPOSITORY = Path(__file__).parents[1]
PYTHON = ("runtime", "export", "benchmarks", "tools", "docs")
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "models/emoji/README.md")

WORDS = {
    r"pictures?": "image",
    r"network calls?": "denoiser call",
    r"dialects?": "operator set",
    r"company": "batching, or other requests",
    r"told|tells?|telling": "state, report, show; distinguish for 'tell apart'",
    r"asked": "requested",
    r"beside": "next to, besides, in addition to, compared with",
    r"but for": "except",
    r"so (?:long|many|much)": "this long, this many, this much",
    r"anew": "again",
    r"likeness": "similarity",
    r"go(?:es|ing)? on|went on": "continue, keep running",
    r"(?<!there )(?:is|are|was|were) no (?!longer|more|faster|slower|larger|smaller)": "is not a",
    r"(?:is|are|was|were) to be": "must be",
    r"lies?": "is, are",
    r"in turns": "alternating, taking turns",
    r"commas between": "comma-separated",
    r"anybody|somebody|nobody": "anyone, someone, no one",
    r"to the bit": "bit for bit, bit-identical",
    r"(?:once|twice) an? (?!time)": "once per",
    r"upon|whilst|lest|hitherto|likewise|therein|thereof|whereby": "a word that is in use",
}
"""Pattern of words -> what to write instead."""

FIXED = {
    "benchmarks/peers/worker.py": "keys of messages and of recorded results",
    "benchmarks/peers/figures.py": "the value `picture` of recorded results",
    "benchmarks/peers/likeness.py": "keys of recorded results",
    "benchmarks/recorded/serve_load.py": "keys of recorded results",
    "benchmarks/recorded/spinning.py": "keys of recorded results",
}
"""Files whose docstrings list names that are fixed, in quotes -> the reason; quoted words are left out there."""

_PATTERN = re.compile("|".join(rf"(?P<w{number}>\b(?:{word})\b)" for number, word in enumerate(WORDS)), re.IGNORECASE)


def discouraged(text: str) -> Iterator[tuple[str, str]]:
    """Each discouraged word in a text, in its line, and what to write instead."""
    for found in _PATTERN.finditer(text):
        line = text[text.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0].strip()
        yield f"{found[0]!r} in {line!r}", list(WORDS.values())[int((found.lastgroup or "")[1:])]


def without_code(text: str) -> str:
    """Markdown, a docstring or a message without code, commands, names of arguments, links and HTML."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^ *(?:python|triptych) .*|^ +[\w, ]+:", "", text, flags=re.MULTILINE)
    return re.sub(r"`+[^`]*`+|\]\([^)]*\)|<[^<>]*>|--[\w-]+", "", text)


def texts_of_python(source: str) -> Iterator[str]:
    """Docstrings, messages and other strings of more than one word; the values of an f-string are left out."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        else:
            continue
        if re.search(r"\w \w", text):
            yield text


def files() -> Iterator[Path]:
    """Markdown, Python and the page of the service."""
    yield from (REPOSITORY / name for name in PAGES)
    yield from (REPOSITORY / "docs").rglob("*.md")
    for folder in PYTHON:
        yield from (REPOSITORY / folder).rglob("*.py")
    static = REPOSITORY / "runtime" / "service" / "page" / "static"
    yield from (file for file in static.rglob("*") if file.suffix in (".html", ".js"))


def texts_of(file: Path) -> Iterator[str]:
    """The prose in a file."""
    content = file.read_text()
    name = str(file.relative_to(REPOSITORY))
    if file.suffix == ".js":  # strings of more than one word, and comments
        found = re.findall(r"""("[^"\n]*\s[^"\n]*"|`[^`]*\s[^`]*`)|(//.*|/\*.*?\*/)""", content, re.DOTALL)
        yield from (re.sub(r"\$\{[^}]*\}", "", text.strip("`")) for pair in found for text in pair if text)
    elif file.suffix == ".html":
        yield re.sub(
            r"<[^<>]*>", lambda tag: " ".join(re.findall(r'(?:title|label|placeholder)="([^"]*)"', tag[0])), content
        )
    elif file.suffix == ".py":
        for text in texts_of_python(content):
            yield re.sub(r"\"\w+\"|'\w+'", "", text) if name in FIXED else text
    else:
        yield content


def helps() -> Iterator[tuple[str, str]]:
    """Name and help of each command, its options included."""
    root = cli.make_context("triptych", [], resilient_parsing=True)
    yield "triptych", cli.get_help(root)
    for name, command in cli.commands.items():
        yield name, command.get_help(command.make_context(name, [], parent=root, resilient_parsing=True))


def test_files_are_written_in_the_words_of_the_house() -> None:
    wrong = [
        f"{file.relative_to(REPOSITORY)}: {found}; write: {instead}"
        for file in files()
        for text in texts_of(file)
        for found, instead in discouraged(without_code(text))
    ]
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize(("name", "text"), list(helps()))
def test_help_is_written_in_the_words_of_the_house(name: str, text: str) -> None:
    assert list(discouraged(without_code(" ".join(text.split())))) == []


def test_every_file_with_fixed_names_needs_its_exception() -> None:
    for name in FIXED:
        texts = texts_of_python((REPOSITORY / name).read_text())
        assert any(list(discouraged(without_code(text))) for text in texts), name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Picture, and pictures beside it.", ["Picture", "pictures", "beside"]),
        ("`picture`, ``told``, --dialect, [text](picture.png), <img picture>", []),
        ("```\npicture\n```\nIt is no file, there is no file, and it is no longer one.", ["is no "]),
        ("Args:\n    dialect: the dialect.\n\n    python -m peers likeness", ["dialect"]),
        ("The stalemate went on; pictured companies foretell.", ["went on"]),
    ],
)
def test_words_are_found_in_prose_and_not_in_code(text: str, words: list[str]) -> None:
    found = [each.partition(" in '")[0].strip("'") for each, _ in discouraged(without_code(text))]
    assert found == words


def test_texts_are_docstrings_and_messages() -> None:
    source = '"""A module."""\ndef f(value):\n    """Do it."""\n    raise E(f"{value!r} is no file")\nKEY = "picture"\n'
    assert list(texts_of_python(source)) == ["A module.", "Do it.", "{} is no file"]
