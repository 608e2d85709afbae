"""Every block of code of the documentation runs as printed, or is marked as one that needs what is not here."""

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import DATA, EXECUTED, NEEDS, Block, blocks
from tests.docs.workplace import GIVEN, REPOSITORY, Workplace, package, uses
from tests.support.hub import Hub, files_of, running
from triptych.runtime.cli.commands import cli

FOLDERS = ("*.md", "docs/**/*.md", "models/**/*.md", "benchmarks/**/*.md", "tests/**/*.md", "examples/**/*.md")
MADE = REPOSITORY / "models" / "emoji-package"
"""Written by `make demo`; its card is not a page of the repository."""
PAGES = sorted(
    {
        str(page.relative_to(REPOSITORY))
        for pattern in FOLDERS
        for page in REPOSITORY.glob(pattern)
        if page.parent != MADE
    }
)

CHECKPOINT, HUB_ID = "sd15-checkpoint", "schmuell/sd-turbo-ort-web"
"""A diffusers folder, and a repository of the hub with a package."""


def of(page: str) -> list[Block]:
    """The blocks of a page."""
    return list(blocks((REPOSITORY / page).read_text()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of this process."""
    place = tmp_path / "folder"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub for this process and those that it starts, with a package."""
    package(tmp_path / "remote")
    with running(tmp_path / "hub") as hub:
        hub.add(HUB_ID, files_of(tmp_path / "remote"))
        variables = {"HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0"}
        variables |= {"HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_test", "XDG_CACHE_HOME": str(tmp_path / "cache")}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield hub


def executed() -> list[Any]:
    """The pages with blocks that are executed; those that export are slow."""
    found = []
    for page in PAGES:
        if code := "".join(block.text for block in of(page) if block.executed):
            slow = "triptych export" in code or "triptych.export" in code
            found.append(pytest.param(page, marks=[pytest.mark.slow] if slow else []))
    return found


@pytest.mark.parametrize("page", executed())
def test_the_blocks_of_a_page_run_in_order(page: str, folder: Path, hub: Hub, request: pytest.FixtureRequest) -> None:
    executed = [block for block in of(page) if block.executed]
    code = "".join(block.text for block in executed)
    if "curl " in code and shutil.which("curl") is None:
        pytest.skip("needs curl")
    for name, make in GIVEN.items():
        if uses(code, name):
            make(folder / name)
    if uses(code, CHECKPOINT):
        shutil.copytree(request.getfixturevalue("checkpoint"), folder / CHECKPOINT)
    with Workplace(folder) as place:
        for block in executed:
            place.run(block, REPOSITORY / page)


@pytest.mark.parametrize("page", PAGES)
def test_no_block_escapes(page: str) -> None:
    for block in of(page):
        place = f"{page}:{block.line}"
        assert block.language in (*EXECUTED, *DATA), f"{place}: give it a language: {', '.join((*EXECUTED, *DATA))}"
        assert block.needs in (None, *NEEDS), f"{place}: needs {block.needs}; allowed: {', '.join(NEEDS)}"
        if block.language == "json":
            json.loads(block.text)
        if block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.needs or block.tested for block in of(page))])
def test_commands_that_are_not_run_here_are_right(page: str) -> None:
    root = cli.make_context("triptych", [], resilient_parsing=True)
    for block in of(page):
        if block.tested is not None:
            assert names((REPOSITORY / block.tested).read_text(), block, Path(page)), f"{page}:{block.line}"
        if block.language == "python":
            compile(block.text, page, "exec")
        elif block.language == "sh":
            for program, *arguments in commands(block.text):
                if program == "triptych":
                    cli.commands[arguments[0]].make_context(arguments[0], arguments[1:], parent=root)


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = " ".join(re.findall(r"`make ([a-z][\w -]*)`", (REPOSITORY / page).read_text())).split()
        assert set(named) <= targets, page


def names(test: str, block: Block, page: Path) -> bool:
    """Whether a file of tests names the page, or the first two words of a command."""
    said = " ".join(re.findall(r"[\w./-]+", test))
    return page.name in said or any(" ".join(words[:2]) in said for words in commands(block.text))


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command."""
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words
