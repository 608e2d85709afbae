"""A pushed package is the one that is pulled again, with its card, and nothing else of its folder."""

import shutil
from pathlib import Path

import pytest

from tests.support.command_line import refused, run
from tests.support.hub import Hub, files_of
from triptych.runtime.hub.pull import pull
from triptych.runtime.package.pulled import Name

TARGET = "me/new"


@pytest.fixture
def mine(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the test's own with a card, and a file that is none of it; logged in."""
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    shutil.copytree(package, tmp_path / "mine")
    (tmp_path / "mine" / "README.md").write_text("# Mine")
    (tmp_path / "mine" / "secret.txt").write_text("no")
    return tmp_path / "mine"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the client's HTTP library; ordinary runs ignore them
def test_there_and_back(hub: Hub, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run("push", mine, TARGET, "--private", capsys=capsys)
    commit = hub.repositories[TARGET].branches["main"]
    assert (status, out) == (0, f"{hub.address}/{TARGET}/commit/{commit}\n"), err
    assert hub.repositories[TARGET].private
    expected = files_of(mine)
    del expected["secret.txt"]
    assert hub.repositories[TARGET].commits[commit] == expected
    assert files_of(pull(Name(TARGET)).folder) == expected
    assert err == ""
    (mine / "README.md").unlink()
    assert run("push", mine, TARGET, capsys=capsys)[2] == f"{mine} has no README.md: it is uploaded without a card\n"


def test_to_a_branch_and_from_the_cache(hub: Hub, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("push", mine, f"{TARGET}@half", capsys=capsys)[0] == 0
    repository = hub.repositories[TARGET]
    assert repository.commits[repository.branches["main"]] == {}
    assert not repository.private
    found = pull(Name(TARGET, "half"))
    assert run("push", f"{TARGET}@half", "me/second", capsys=capsys)[0] == 0
    second = hub.repositories["me/second"]
    assert second.commits[second.branches["main"]] == files_of(found.folder)


def test_an_altered_package_and_bad_names_are_refused(
    hub: Hub, mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "allowed: owner/name" in refused("push", mine, "new", capsys=capsys)
    config = mine / "unet" / "config.json"
    content = config.read_bytes()
    config.write_bytes(content[:-1] + b" ")
    assert f"{config} was altered" in refused("push", mine, TARGET, capsys=capsys)
    config.write_bytes(content)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot be uploaded: HF_HUB_OFFLINE is set" in refused("push", mine, TARGET, capsys=capsys)
    assert TARGET not in hub.repositories
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    (mine / "README.md").write_text("---\nlicence: MIT\n---\n")
    assert '"licence" is not allowed' in refused("push", mine, TARGET, capsys=capsys)
