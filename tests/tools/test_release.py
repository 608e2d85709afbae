"""The release recipe of docs/releasing.md, up to the upload, in a clone."""

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ADDRESS = "https://forge.test/triptych"


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    subprocess.run(("git", *author, *arguments), cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's last commit, without a tag; tracked files may be changed there."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("needs the repository")
    folder = tmp_path_factory.mktemp("release") / "clone"
    git(REPOSITORY, "clone", "--quiet", "--shared", "--no-tags", str(REPOSITORY), str(folder))
    return folder


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def release(clone: Path, python: str | Path = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "tools/release.py"], cwd=clone, capture_output=True, text=True, check=False)


def refused(clone: Path) -> str:
    done = release(clone)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


@pytest.mark.slow
def test_the_recipe_ends_with_what_is_uploaded(clone: Path, tmp_path: Path) -> None:
    assert "no heading `## 0.1.0 (YYYY-MM-DD)`" in refused(clone)
    replace(clone / "CHANGELOG.md", "## 0.1.0 (unreleased)", "## 0.1.0 (2026-12-01)")
    assert "files differ from the commit" in refused(clone)
    git(clone, "commit", "--quiet", "-am", "release 0.1.0")
    assert "has no tag v0.1.0" in refused(clone)
    git(clone, "tag", "-a", "v0.1.0", "-m", "Triptych 0.1.0")
    assert "set the public address" in refused(clone)
    replace(clone / "pyproject.toml", "https://example.org/triptych", ADDRESS)
    git(clone, "commit", "--quiet", "-am", "the address")
    git(clone, "tag", "-f", "-a", "v0.1.0", "-m", "Triptych 0.1.0")

    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "build>=1.2", "twine>=6.1"], check=True)
    done = release(clone, python)
    assert done.returncode == 0, done.stderr
    assert "twine upload dist/*.tar.gz dist/*.whl" in done.stdout
    assert (clone / "dist" / "notes.md").read_text().startswith("### ")
    check_contents(clone / "dist")


def check_contents(dist: Path) -> None:
    (source,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    with tarfile.open(source) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    tests = {str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "tests").rglob("test_*.py")}
    pages = {str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "docs").glob("*.md")}
    assert {"CHANGELOG.md", *tests, *pages} <= names
    with zipfile.ZipFile(wheel) as files:
        assert not any(name.startswith(("tests/", "docs/", "tools/")) for name in files.namelist())
        (metadata,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        page = message_from_bytes(files.read(metadata))
    text = str(page.get_payload())
    assert f"({ADDRESS}/raw/v0.1.0/docs/banner.png)" in text
    assert f"({ADDRESS}/blob/v0.1.0/docs/cli.md)" in text
    assert re.findall(r'(?:\]\(|src=")(?!https://|#)[^)"]+', text) == [], "links that an index cannot follow"
    assert f"Repository, {ADDRESS}" in page.get_all("Project-URL", [])
