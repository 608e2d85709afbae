"""Output wherever it goes, and Ctrl-C at any time: one line, and no traceback."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import refused
from triptych.runtime.errors import ArgumentError

MAIN = "from triptych.runtime.cli import main; main()"
LISTING = [sys.executable, "-c", MAIN, "schedulers"]
ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}


def shell(command: str, **variables: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command of bash; $T lists the schedulers."""
    variables |= {"T": " ".join(f"'{word}'" for word in LISTING)}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, env=os.environ | variables
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux alone has /dev/full")
def test_a_full_disk_is_one_line() -> None:
    status, _, err = shell("eval $T > /dev/full")
    assert (status, err) == (2, "error: No space left on device\n")


def test_a_reader_that_has_gone_is_no_error() -> None:
    status, _, err = shell("eval $T | true")
    assert (status, err) == (1, "")


def test_closed_streams_are_no_error() -> None:
    assert shell("eval $T euler >&-") == (0, "", "")
    assert shell("eval $T none-such 2>&-") == (2, "", "")


def test_characters_that_the_encoding_lacks_are_escaped() -> None:
    program = (
        "import sys; from triptych.runtime.cli.output import open_streams; open_streams(); print('fox \\U0001f98a')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | ASCII, check=True
    )
    assert done.stdout == "fox \\U0001f98a\n"


@pytest.mark.parametrize("module", ["numpy", "click", "onnxruntime"])
def test_ctrl_c_during_imports_is_one_line(module: str) -> None:
    program = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        f"sys.meta_path.insert(0, Interrupt())\n{MAIN}"
    )
    done = subprocess.run([sys.executable, "-c", program, "doctor"], capture_output=True, text=True)
    # Commands import ONNX Runtime when they use it: click ends the line that ^C is on
    assert (done.returncode, done.stdout, done.stderr.lstrip("\n")) == (130, "", "error: interrupted\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [("folder.png", "folder.png: cannot write there: it is a folder"), ("x" * 300 + ".png", "File name too long")],
)
def test_a_name_that_cannot_be_written_is_refused_before_anything_is_computed(
    name: str,
    message: str,
    package: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("triptych.runtime.cli.generation.TextToImage.load", lambda *_, **__: pytest.fail("loaded"))
    (tmp_path / "folder.png").mkdir()
    assert message in refused("generate", package, "a fox", "--out", tmp_path / name, capsys=capsys)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, OSError("disk"), UnicodeEncodeError("ascii", "é", 0, 1, "no")])
def test_nothing_half_written_is_left(raised: BaseException, tmp_path: Path) -> None:
    from triptych.runtime.cli.image_files import write as write_file

    def write(file: object) -> None:
        raise raised

    with pytest.raises((KeyboardInterrupt, ArgumentError)):
        write_file(tmp_path / ("x" * 250), write)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_command_left_is_cleared_and_what_others_write_stays(tmp_path: Path) -> None:
    from triptych.runtime.cli.image_files import write as write_file

    def leave_and_kill() -> None:
        write_file(tmp_path / "out.png", lambda file: os.kill(os.getpid(), signal.SIGKILL))

    running = multiprocessing.get_context("fork").Process(target=leave_and_kill)
    running.start()
    running.join()
    (left,) = tmp_path.iterdir()
    others = [
        left.with_name(left.name.replace(str(running.pid), text)) for text in {str(os.getppid()), "1", "x", "9" * 30}
    ]
    for file in others:
        file.touch()
    write_file(tmp_path / "out.png", lambda file: print(file.write(b"whole")))
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "out.png", *others])


def test_a_file_that_no_command_checks_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine() -> None:
        Path("/proc/self/mem/none").read_bytes()

    monkeypatch.setattr("triptych.runtime.cli.doctor.examine", examine)
    assert refused("doctor", capsys=capsys) == "error: /proc/self/mem/none: Not a directory"
