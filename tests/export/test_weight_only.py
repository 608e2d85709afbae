"""Weights alone in 8 and 4 bits, as a precision to ask for."""

from pathlib import Path

import pytest

from tests.command_line import refused


@pytest.mark.parametrize("precision", ["w8", "w4"])
def test_cuda_has_no_such_operators(
    checkpoint: Path, precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "package"
    error = refused("export", checkpoint, package, "--dialect", "cuda", "--precision", precision, capsys=capsys)
    assert f"dialect cuda has no operators in {precision}; allowed: fp32, fp16" in error
    assert not package.exists()
