"""The same batches on Ray, started here with two CPUs."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from .test_batch import BASE, check_whole, table
from .test_kills import COMMAND, made
from .test_rows import write

pytest.importorskip("ray", reason="batches on Ray need triptych[ray]")
pytestmark = pytest.mark.usefixtures("alone_with_ray")

PATIENCE = 180.0  # seconds for Ray to start, or to start an actor again


@pytest.fixture(scope="session")
def package(exported_package: Path) -> Path:
    """Actors are killed while their images are made."""
    return exported_package


def batch(*arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `triptych batch`; in a process of its own, as Ray is one to a process."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout, done.stderr


def test_ray_makes_the_same_pictures_and_says_the_same_of_the_rest(package: Path, tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [{"negative_prompt": "grey"}, {"width": 64}, {"width": 65}, {"eta": float("inf")}]
    others += [{"seed": -1}, {}]
    jobs = write(tmp_path / "jobs.jsonl", [{"id": f"n{n}", **BASE, **other} for n, other in enumerate(others * 2)])
    results = []
    for engine in ("local", "ray"):
        out = tmp_path / engine
        status, told, said = batch(package, jobs, out, "--device", "cpu", "--engine", engine)
        assert (status, told.strip()) == (1, f"{out}/results.jsonl")
        assert "6 rows failed" in said
        check_whole(out, table(out))
        results.append({name: result | {"seconds": None} for name, result in table(out).items()})
    assert "Ray: 1 actor of" in said
    assert results[0] == results[1]


PROGRAM = """
import logging, os, sys
from pathlib import Path

os.environ["RAY_BACKEND_LOG_LEVEL"] = "error"
import ray.data

from triptych.runtime.batch.ray_engine import on_ray
from triptych.runtime.batch.rows import read

def state():
    variables = {name: os.environ.get(name) for name in ("RAY_USAGE_STATS_ENABLED", "RAY_BACKEND_LOG_LEVEL")}
    bars = ray.data.DataContext.get_current().enable_progress_bars
    return variables, bars, logging.getLogger("ray.data").level

package, jobs, folder = map(Path, sys.argv[1:])
before = state()
made = list(on_ray(package, {"device": "cpu"}, folder)([read(jobs)]))
print([each.reason for each in made], state() == before, before[0])
"""


def test_a_batch_on_ray_leaves_the_process_as_it_was(package: Path, tmp_path: Path) -> None:
    jobs, out = write(tmp_path / "jobs.jsonl", [{"id": "a", **BASE}]), tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(package), str(jobs), str(out)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=own)
    variables = {"RAY_USAGE_STATS_ENABLED": None, "RAY_BACKEND_LOG_LEVEL": "error"}
    assert done.stdout.splitlines()[-1] == f"[''] True {variables}", done.stderr


@pytest.mark.slow
def test_an_actor_that_is_killed_loses_nothing(package: Path, tmp_path: Path) -> None:
    """Two actors, one of which is killed while both are at work; Ray starts it again."""
    records = [{"id": f"n{n}", **BASE, "num_inference_steps": 10, "seed": n} for n in range(60)]
    jobs, out = write(tmp_path / "jobs.jsonl", records), tmp_path / "out"
    command: list[str | Path] = [*COMMAND, package, jobs, out, "--device", "cpu", "--batch", "2"]
    with subprocess.Popen([*command, "--engine", "ray", "--cpus-per-actor", "1"], stderr=subprocess.PIPE) as process:
        start = time.monotonic()
        while made(out) < 4 and process.poll() is None and time.monotonic() - start < PATIENCE:
            time.sleep(0.01)
        workers = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if "MapWorker" in child.name() + "".join(child.cmdline())
        ]
        assert workers, "it was at work"
        workers[0].kill()
        before = made(out)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said.decode()
    assert before < len(records)
    results = table(out)
    assert list(results) == [record["id"] for record in records]
    check_whole(out, results)
    here = tmp_path / "here"
    subprocess.run([*COMMAND, package, jobs, here, "--device", "cpu"], check=True, capture_output=True)
    assert {n: r["sha256"] for n, r in results.items()} == {n: r["sha256"] for n, r in table(here).items()}


def test_what_ray_cannot_do_is_one_line(package: Path, tmp_path: Path) -> None:
    jobs = write(tmp_path / "jobs.jsonl", [{"id": "a", **BASE}])
    command = (package, jobs, tmp_path / "out", "--engine", "ray")
    for more, reason in (
        (("--address", "127.0.0.1:1"), "--address 127.0.0.1:1: no Ray cluster answers there"),
        (("--cpus-per-actor", 1000), "no machine of the cluster has as many"),
        (("--device", "nope"), f"error: an actor cannot load {package}: unknown device 'nope'; allowed:"),
    ):
        status, _, said = batch(*command, *more)
        assert status == 2
        assert reason in said.splitlines()[-1]
