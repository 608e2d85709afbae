"""Build and check a release, up to its upload: python tools/release.py

The commit that is checked out must have the tag of the version. Writes the source distribution, the wheel and the notes
to dist/, and prints the commands that publish them. Needs build and twine: `make release` has them.
"""

import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import NoReturn

REPOSITORY = Path(__file__).parents[1]
DIST = REPOSITORY / "dist"
IN_SOURCE = (
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "docs/cli.md",
    "tests/conftest.py",
    "tests/support/tiny_package.py",
)
RELATIVE = re.compile(r"""\]\((?!https?:|#)[^)]*\)|(?:src|href)="(?!https?:)[^"]*\"""")


def refuse(reason: str) -> NoReturn:
    """End with the reason."""
    sys.exit(f"error: {reason}")


def run(*command: str | Path, cwd: Path = REPOSITORY) -> str:
    """Output of a program, which must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        refuse(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def notes_of(version: str, changelog: str) -> str:
    """The part of the changelog on a version, without its heading."""
    found = re.search(rf"^## {re.escape(version)} \((.*?)\)\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None or not re.fullmatch(r"\d{4}-\d\d-\d\d", found[1]):
        refuse(f"CHANGELOG.md has no heading `## {version} (YYYY-MM-DD)`")
    return found[2].strip() + "\n"


def check_state(project: dict[str, dict[str, str]], version: str) -> None:
    """Check that the tagged commit is what is released, and that its links have a place to lead to."""
    if changed := run("git", "status", "--porcelain", "--untracked-files=no"):
        refuse(f"files differ from the commit:\n{changed}")
    if f"v{version}" not in run("git", "tag", "--points-at", "HEAD").split():
        refuse(f"the commit has no tag v{version}: git tag -a v{version} -m 'Triptych {version}'")
    if "://example." in (address := project["urls"]["Repository"]):
        refuse(f"pyproject.toml: [project.urls] has {address}; set the public address of the repository")


def build() -> tuple[Path, Path]:
    """Build source distribution and wheel from the files of the commit: the wheel from the source distribution."""
    shutil.rmtree(DIST, ignore_errors=True)
    archive = subprocess.run(("git", "archive", "HEAD"), cwd=REPOSITORY, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        run(sys.executable, "-m", "build", "--outdir", DIST, folder)
    (source,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    return source, wheel


def check(source: Path, wheel: Path, version: str) -> None:
    """Check metadata and contents, and run the wheel in a fresh environment."""
    run(sys.executable, "-m", "twine", "check", "--strict", source, wheel)
    with tarfile.open(source) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    if missing := [name for name in IN_SOURCE if name not in names]:
        refuse(f"{source.name} lacks {', '.join(missing)}")
    with zipfile.ZipFile(wheel) as files:
        (metadata,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        page = str(message_from_bytes(files.read(metadata)).get_payload())
    if found := RELATIVE.findall(page):
        refuse(f"the page of the wheel has relative links: {', '.join(found)}")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        run(Path(folder, "bin", "pip"), "install", "-q", "--disable-pip-version-check", wheel, cwd=Path(folder))
        printed = run(Path(folder, "bin", "triptych"), "--version", cwd=Path(folder))
    if version not in printed:
        refuse(f"the installed wheel says {printed.strip()}, not {version}")


def main() -> None:
    """Build, check, and print what is left to do."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    version = project["version"]
    notes = notes_of(version, (REPOSITORY / "CHANGELOG.md").read_text())
    check_state(project, version)
    source, wheel = build()
    check(source, wheel, version)
    (DIST / "notes.md").write_text(notes)
    for file in (source, wheel):
        print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB, checked")
    print("dist/notes.md: from CHANGELOG.md\n\nTo publish:")
    print(f"  git push origin v{version}\n  {sys.executable} -m twine upload dist/*.tar.gz dist/*.whl")


if __name__ == "__main__":
    main()
