import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_documentation_of_the_command_line_is_current(tmp_path: Path) -> None:
    """Stale? `make docs` writes it anew."""
    fresh = tmp_path / "cli.md"
    command = ["typer", "triptych.runtime.cli", "utils", "docs", "--name", "triptych", "--output", fresh]
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    assert fresh.read_text() == (REPOSITORY / "docs" / "cli.md").read_text()
