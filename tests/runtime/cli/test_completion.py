"""Completion in a shell knows commands, packages, schedulers and devices."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import CompletionItem, ShellComplete

from triptych.runtime.cli.commands import cli
from triptych.runtime.noise import SOURCES

MAIN = "import sys; sys.argv[0] = 'triptych'; from triptych.runtime.cli import main; main()"


@pytest.fixture(autouse=True)
def folder(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with two packages and another folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("sd15", "models/xl"):
        Path(name).parent.mkdir(exist_ok=True)
        os.symlink(package, name)
    Path("sources").mkdir()


def items(*words: str) -> list[CompletionItem]:
    """Completions of the last word."""
    *arguments, incomplete = words
    return ShellComplete(cli, {}, "triptych", "_TRIPTYCH_COMPLETE").get_completions(arguments, incomplete)


def values(*words: str) -> list[str]:
    return [item.value for item in items(*words)]


def test_commands_and_options_are_completed() -> None:
    assert values("gen") == ["generate"]
    assert "--quiet" in values("generate", "--q")


@pytest.mark.parametrize("command", ["generate", "inspect", "serve", "batch", "bench", "push"])
def test_packages_are_completed(command: str) -> None:
    assert values(command, "s") == ["sd15"]
    assert values(command, "models/") == ["models/xl"]
    (other,) = items(command, "so")
    assert (other.value, other.type) == ("so", "dir")


def test_prompts_are_not_completed() -> None:
    assert values("generate", "sd15", "s") == []
    assert values("generate", "--package", "sd15", "s") == []


def test_schedulers_are_completed_also_after_a_comma() -> None:
    assert {"euler", "euler_a"} <= set(values("generate", "--scheduler", "eu"))
    assert "ddim,euler" in values("generate", "--scheduler", "ddim,eu")
    assert values("schedulers", "ddi") == ["ddim"]
    assert "flow_euler" in values("generate", "--scheduler", "flow")
    assert values("generate", "sd15", "--scheduler", "flow") == [], "they are for other models"


def test_names_are_completed() -> None:
    assert values("generate", "--device", "c") == ["cpu"]
    assert values("generate", "--memory", "l") == ["low"]
    assert values("generate", "--noise", "") == list(SOURCES)


def test_exports_are_completed() -> None:
    pytest.importorskip("triptych.export.arguments")
    assert values("export", "--precision", "w") == ["w8", "w4"]
    assert values("export", "--dialect", "p") == ["portable"]


def test_a_shell_gets_the_answers_and_the_script(tmp_path: Path) -> None:
    def answer(**variables: str) -> str:
        environment = {**os.environ, **variables}
        command = [sys.executable, "-c", MAIN]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    words = "triptych generate sd15 --scheduler eu"
    found = answer(_TRIPTYCH_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="4")
    assert "plain,euler\n" in found
    assert "_triptych_completion" in answer(_TRIPTYCH_COMPLETE="zsh_source")
