"""Batches in processes of their own that are killed at random moments, and gone on with."""

import fcntl
import json
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.command_line import INTERRUPTIBLE

from .test_batch import BASE, check_whole, table
from .test_rows import write

COMMAND = [sys.executable, "-c", INTERRUPTIBLE + "from triptych.runtime.cli import main; main()", "batch"]
PICTURES = 6  # made before a kill, at most
PATIENCE = 120.0  # seconds for the next picture


@pytest.fixture(scope="session")
def package(slow_package: Path) -> Path:
    """Batches are killed while their images are made."""
    return slow_package


def made(out: Path) -> int:
    return len(list(out.glob("*.png")))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_batch_that_is_killed_loses_and_doubles_nothing(kills: int, package: Path, tmp_path: Path) -> None:
    """Some in the start, most when pictures are being made; after each the table and all files are whole."""
    chance = random.Random(kills)
    records = [{"id": f"n/{n}", **BASE, "seed": n} for n in range(PICTURES * kills + 4)]
    jobs, out = write(tmp_path / "jobs.jsonl", records), tmp_path / "out"
    command: list[str | Path] = [*COMMAND, package, jobs, out, "--batch", "2", "--device", "cpu"]
    first: dict[str, int] = {}  # name -> when it was written
    for _ in range(kills):
        goal, start = made(out) + chance.randrange(PICTURES - 1), time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            while made(out) < goal and process.poll() is None and time.monotonic() - start < PATIENCE:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, "it was at work"
        if not out.exists():
            continue
        lines = (out / "results.jsonl").read_text().splitlines() if (out / "results.jsonl").exists() else []
        for result in map(json.loads, lines):
            assert (result["status"], (out / result["file"]).exists()) == ("done", True)
            # what the table has is not made again
            written = (out / result["file"]).stat().st_mtime_ns
            assert first.setdefault(result["id"], written) == written
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    results = table(out)
    assert list(results) == [record["id"] for record in records]
    assert {result["status"] for result in results.values()} == {"done"}
    assert f"{len(records)} done" in done.stderr
    check_whole(out, results)

    alone = tmp_path / "alone"
    subprocess.run([*COMMAND, package, jobs, alone, "--device", "cpu"], check=True, capture_output=True)
    assert {n: r["sha256"] for n, r in results.items()} == {n: r["sha256"] for n, r in table(alone).items()}


def test_the_time_left_is_shown_on_a_terminal_and_ctrl_c_keeps_what_is_done(package: Path, tmp_path: Path) -> None:
    jobs, out = write(tmp_path / "jobs.jsonl", [{"id": str(n), **BASE} for n in range(400)]), tmp_path / "out"
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # rows and columns
    command: list[str | Path] = [*COMMAND, package, jobs, out, "--batch", "1", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        said, start = b"", time.monotonic()
        # such as "3/400 [00:01<02:12, 3.0image/s]"
        while not re.search(rb"[1-9]\d*/400 \[[\d:]+<\d+:\d+", said) and time.monotonic() - start < PATIENCE:
            if select.select([terminal], [], [], 1.0)[0]:
                said += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # the terminal of a process that ended cannot be read
            while more := os.read(terminal, 4096):
                said += more
    os.close(terminal)
    assert process.returncode == 130
    assert said.decode().splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in said.decode()
    results = table(out)
    assert 0 < len(results) < 400
    check_whole(out, results)
