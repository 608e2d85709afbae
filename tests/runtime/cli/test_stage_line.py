"""The line on stderr that tells the stage of an export."""

import io

import pytest

from triptych.runtime.cli.stage_line import StageLine


class Terminal(io.StringIO):
    """A terminal that remembers what is written."""

    def isatty(self) -> bool:
        return True


def test_stages_replace_each_other_and_lines_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with StageLine() as line:
        line.show("unet: tracing")
        line.report("unet: 3 M parameters")
        line.show("vae: tracing")
    clear = "\r\x1b[K"
    written = [part for part in terminal.getvalue().split(clear) if part]
    assert written == [
        "unet: tracing, 0 s",
        "unet: 3 M parameters\n",
        "unet: tracing, 0 s",
        "vae: tracing, 0 s",
    ] or any(
        part.endswith("1 s")
        for part in written  # on a machine that was busy for a second
    )
    assert terminal.getvalue().endswith(clear)


def test_an_error_leaves_no_stage_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    def fail() -> None:
        with StageLine() as line:
            line.show("unet: tracing")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_file_gets_lines_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    with StageLine() as line:
        line.show("unet: tracing")
        line.report("unet: 3 M parameters")
    assert file.getvalue() == "unet: 3 M parameters\n"
