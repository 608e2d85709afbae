"""Batches on this machine: what is made, what is said of the rest, and what a second run does."""

import fcntl
import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import refused, run
from tests.support.images import example_image
from tests.support.packages import linked
from triptych.runtime import TextToImage
from triptych.runtime.batch.generate import GeneratedImage
from triptych.runtime.batch.rows import Row, read, seed_of
from triptych.runtime.batch.run import batch, here
from triptych.runtime.image.pixels import read_settings

from .test_rows import write

BASE: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 2}


def table(out: Path) -> dict[str, dict[str, Any]]:
    """The results by id, each of which is there once."""
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    results = {line["id"]: line for line in lines}
    assert len(results) == len(lines)
    return results


def check_whole(out: Path, results: dict[str, dict[str, Any]]) -> None:
    """The folder holds the pictures that the table names, and nothing else."""
    done = {each["file"]: each["sha256"] for each in results.values() if each["status"] == "done"}
    assert {file.name for file in out.glob("*.png")} == set(done)
    assert {file.name for file in out.iterdir()} == {*done, "results.jsonl", ".results.journal"}
    for name, sha256 in done.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == sha256
        Image.open(out / name).load()


def moments(out: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in out.glob("*.png")}


def test_every_row_is_made_or_said_why_not(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example_image(seed=1).save(tmp_path / "begin.png")
    settings: dict[str, dict[str, Any]] = {
        "plain": {},
        "a/b": {"seed": 5, "negative_prompt": "grey", "prompt": "an owl", "scheduler": "euler_a"},
        "small": {"width": 64, "height": 48, "guidance_scale": 3},
        "from picture": {"image": "begin.png", "strength": 0.5},
        "typed": {"seed": "x"},
        "scheduler": {"scheduler": "nope"},
        "size": {"width": 65},
        "nan": {"guidance_scale": [1.0, float("nan")]},
        "infinite": {"guidance_scale": 1e38},
        "negative": {"seed": -1},  # shares a call with `plain`
        "no picture": {"image": "missing.png"},
        "second": {"prompt_2": "this package has one encoder"},
    }
    jobs = write(tmp_path / "jobs.jsonl", [{"id": name, **BASE, **own} for name, own in settings.items()])
    out = tmp_path / "out"
    status, told, said = run("batch", package, jobs, out, "--device", "cpu", capsys=capsys)
    assert (status, told.strip()) == (1, str(out / "results.jsonl"))
    assert said.splitlines()[-1] == f"error: 8 rows failed, see {out}/results.jsonl; 4 done, 0 of them before"
    results = table(out)
    assert list(results) == list(settings), "in the order of the jobs"
    check_whole(out, results)
    for name, part in {
        "typed": "seed is 'x'; allowed: a whole number",
        "scheduler": "unknown scheduler 'nope'",
        "size": "width=65 must be a positive multiple",
        "nan": "guidance_scale is [1.0, nan]",
        "infinite": "guidance_scale=1e+38; allowed: a number",
        "negative": "seed=-1; allowed: a whole number from 0 to 2^64 - 1",
        "no picture": "missing.png does not exist",
        "second": "prompt_2: this package has one text encoder",
    }.items():
        assert results[name]["status"] == "failed"
        assert part in results[name]["reason"]
        assert results[name]["file"] is results[name]["sha256"] is results[name]["seed"] is None
    pipe = TextToImage.load(package, device="cpu")
    for name in ("plain", "a/b", "small", "from picture"):
        result, own = results[name], settings[name].copy()
        assert (result["status"], result["reason"]) == ("done", None)
        assert result["seed"] == own.get("seed", seed_of(name))
        assert result["seconds"] > 0
        if "image" in own:
            own["image"] = Image.open(tmp_path / own["image"])
        (alone,) = pipe(**BASE | {"seed": result["seed"]} | own).images
        made = out / result["file"]
        np.testing.assert_array_equal(np.asarray(Image.open(made)), np.asarray(alone))
        assert read_settings(made).to_json() == alone.info["triptych"]


def test_a_second_run_makes_what_is_missing_or_failed_and_nothing_else(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [{"id": name, **BASE, "scheduler": "ddim"} for name in "abcd"]
    records[3]["image"] = "later.png"
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / "out"
    command = ("batch", package, jobs, out, "--device", "cpu")
    write(jobs, records)
    assert run(*command, capsys=capsys)[0] == 1
    before = moments(out)
    assert set(before) == {"a.png", "b.png", "c.png"}

    (out / "b.png").unlink()
    example_image().save(tmp_path / "later.png")
    write(jobs, [*records, {"id": "e", **BASE}])
    status, _, said = run(*command, capsys=capsys)
    assert (status, said.splitlines()[-1]) == (0, "5 done, 2 of them before")
    after = moments(out)
    assert set(after) == {f"{name}.png" for name in "abcde"}
    assert {name for name in before if after[name] == before[name]} == {"a.png", "c.png"}
    check_whole(out, table(out))

    status, _, said = run(*command, capsys=capsys)
    assert (status, said.strip()) == (0, "5 done, 5 of them before"), "the package is not even loaded"
    assert moments(out) == after


def test_a_row_that_changed_is_refused_unless_it_may_be_overwritten(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [{"id": name, **BASE} for name in ("a", "b", "c")]
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / "out"
    write(jobs, records)
    run("batch", package, jobs, out, "--device", "cpu", capsys=capsys)
    before, digest = moments(out), table(out)
    records[1]["prompt"] = "an owl"
    write(jobs, records)
    command = ("batch", package, jobs, out, "--device", "cpu")
    line = refused(*command, capsys=capsys)
    assert "already generated from other settings or by another package: 'b'; --overwrite" in line
    assert (moments(out), table(out)) == (before, digest)
    assert run(*command, "--overwrite", capsys=capsys)[0] == 0
    after, results = moments(out), table(out)
    assert {name for name in after if after[name] != before[name]} == {"b.png"}
    assert results["b"]["sha256"] != digest["b"]["sha256"]
    check_whole(out, results)
    line = refused("batch", linked(package, tmp_path / "without manifest"), jobs, out, "--device", "cpu", capsys=capsys)
    assert "by another package: 'a', 'b', 'c'" in line


def test_pictures_are_the_same_however_many_a_call_makes(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those whose prompts are longer than the others', which cannot share."""
    long = "a fox BREAK in the snow"
    jobs = write(tmp_path / "jobs.csv", [{"id": n, **BASE, "prompt": long if n == 2 else f"a {n}"} for n in range(5)])
    results = []
    for size in (1, 3):
        out = tmp_path / str(size)
        assert run("batch", package, jobs, out, "--batch", size, "--device", "cpu", capsys=capsys)[0] == 0
        results.append({name: result["sha256"] for name, result in table(out).items()})
    assert results[0] == results[1]
    assert len(set(results[0].values())) == 5


def test_pictures_in_one_file(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made, gone on with, and left alone when nothing is to be done."""
    pq = pytest.importorskip("pyarrow.parquet", reason="Parquet needs triptych[parquet]")
    records = [{"id": name, **BASE, **({"width": 65} if name == "bad" else {})} for name in ("a", "bad", "c")]
    jobs, out = write(tmp_path / "jobs.parquet", records), tmp_path / "out.parquet"
    command = ("batch", package, jobs, out, "--device", "cpu")
    status, told, _ = run(*command, capsys=capsys)
    assert (status, told.strip()) == (1, str(out))
    first = pq.read_table(out).to_pylist()
    assert [(row["id"], row["status"]) for row in first] == [("a", "done"), ("bad", "failed"), ("c", "done")]
    for row in (first[0], first[2]):
        assert hashlib.sha256(row["picture"]).hexdigest() == row["sha256"]
    assert first[1]["picture"] is None
    assert "width=65" in first[1]["reason"]

    del records[1]["width"]
    write(jobs, [{**record, "width": None} for record in [*records, {"id": "d", **BASE}]])
    assert run(*command, capsys=capsys)[0] == 0
    second = pq.read_table(out).to_pylist()
    assert [(row["id"], row["status"]) for row in second] == [(name, "done") for name in ("a", "bad", "c", "d")]
    assert [second[0], second[2]] == [first[0], first[2]]
    assert {file.name for file in tmp_path.iterdir()} == {jobs.name, out.name}

    written = out.stat().st_mtime_ns
    status, _, said = run(*command, capsys=capsys)
    assert (status, said.strip()) == (0, "4 done, 4 of them before")
    assert out.stat().st_mtime_ns == written
    assert "was not written by" in refused("batch", package, jobs, jobs, capsys=capsys)


def test_one_file_is_gone_on_with(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not there until it is whole; what was done when the run ended is."""
    pq = pytest.importorskip("pyarrow.parquet", reason="Parquet needs triptych[parquet]")
    jobs, out = write(tmp_path / "jobs.jsonl", [{"id": name, **BASE} for name in "abc"]), tmp_path / "out.parquet"
    engine = here(package, {"device": "cpu"}, tmp_path)

    def interrupted(units: Sequence[list[Row]]) -> Iterator[GeneratedImage]:
        yield from itertools.islice(engine(units), 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batch(package, jobs, out, interrupted, size=1)
    assert not out.exists()
    assert list(table(tmp_path / ".out.parquet.parts")) == ["a", "b"]
    for before in (2, 3):
        status, _, said = run("batch", package, jobs, out, "--device", "cpu", capsys=capsys)
        assert (status, said.splitlines()[-1]) == (0, f"3 done, {before} of them before")
        assert [row["id"] for row in pq.read_table(out).to_pylist()] == ["a", "b", "c"]
        assert {file.name for file in tmp_path.iterdir()} == {jobs.name, out.name}
        # as a kill just before its end leaves it
        (tmp_path / ".out.parquet.parts").mkdir()
        (tmp_path / ".out.parquet.parts" / ".results.journal").touch()


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(package: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the second picture is above it."""
    rows = [{"id": "small", **BASE, "width": 32, "height": 32}, {"id": "large", **BASE, "width": 128, "height": 128}]
    jobs, out = write(tmp_path / "jobs.jsonl", rows), tmp_path / "out"
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))\n"
        "from triptych.runtime.cli import main; main()"
    )
    command: list[str | Path] = [sys.executable, "-c", limited, "batch", package, jobs, out, "--device", "cpu"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        f"error: {out}/large.png cannot be written: File too large; what is done is kept"
    )
    results = table(out)
    assert list(results) == ["small"]
    check_whole(out, results)


def test_a_folder_serves_one_process_and_pictures_alone(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs, out = write(tmp_path / "jobs.jsonl", [{"id": "a", **BASE}]), tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_text("mine")
    assert "holds other things and no results.jsonl" in refused("batch", package, jobs, out, capsys=capsys)
    assert (out / "a.png").read_text() == "mine"
    (out / "results.jsonl").write_text('{"mine": 1}\n')
    assert "was not written by `triptych batch`" in refused("batch", package, jobs, out, capsys=capsys)
    assert (out / "results.jsonl").read_text() == '{"mine": 1}\n'
    shutil.rmtree(out)
    out.mkdir()
    with (out / ".results.journal").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "is being written by another batch" in refused("batch", package, jobs, out, capsys=capsys)
    assert "cannot be written" in refused("batch", package, jobs, jobs / "out", capsys=capsys)


def test_half_a_line_of_the_journal_is_as_if_it_were_not(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a kill may leave, at its worst: half a line, half a picture, and a table that is behind."""
    jobs, out = write(tmp_path / "jobs.jsonl", [{"id": name, **BASE} for name in "abc"]), tmp_path / "out"
    command = ("batch", package, jobs, out, "--device", "cpu")
    run(*command, capsys=capsys)
    whole, before = table(out), moments(out)
    a, b, c = (out / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "results.jsonl").write_bytes(a)
    (out / ".results.journal").write_bytes(b + c[:40])
    (out / ".c.png.partial").write_bytes(b"half")
    status, _, said = run(*command, capsys=capsys)
    assert (status, said.splitlines()[-1]) == (0, "3 done, 2 of them before")
    results, after = table(out), moments(out)
    check_whole(out, results)
    assert {name: each["sha256"] for name, each in results.items()} == {n: each["sha256"] for n, each in whole.items()}
    assert {name for name in after if after[name] != before[name]} == {"c.png"}


def test_bad_input_is_refused_before_anything_is_made(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs, out = write(tmp_path / "jobs.jsonl", [{"id": "a", **BASE}]), tmp_path / "out"
    assert "tmp_none" in refused("batch", "tmp_none", jobs, out, capsys=capsys)
    assert "--batch" in run("batch", package, jobs, out, "--batch", 0, capsys=capsys)[2]
    assert "are for --engine ray" in refused("batch", package, jobs, out, "--address", "auto", capsys=capsys)
    write(jobs, [{"id": "a", **BASE}, {"id": "a", **BASE}])
    assert "more than once: 'a'" in refused("batch", package, jobs, out, capsys=capsys)
    assert not out.exists()


def test_what_is_not_installed_is_named_with_its_extra(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyarrow", "pyarrow.parquet", "ray"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("parquet", "ray_engine"):
        monkeypatch.delitem(sys.modules, f"triptych.runtime.batch.{name}", raising=False)
        monkeypatch.delattr(sys.modules["triptych.runtime.batch"], name, raising=False)
    jobs, out = write(tmp_path / "jobs.jsonl", [{"id": "a", **BASE}]), tmp_path / "out"
    assert "needs ray, which is not installed: pip install 'triptych[ray]'" in refused(
        "batch", package, jobs, out, "--engine", "ray", capsys=capsys
    )
    missing = "needs pyarrow, which is not installed: pip install 'triptych[parquet]'"
    assert missing in refused("batch", package, jobs, tmp_path / "out.parquet", capsys=capsys)
    (tmp_path / "jobs.parquet").touch()
    assert missing in refused("batch", package, tmp_path / "jobs.parquet", out, capsys=capsys)
    assert [row.id for row in read(jobs)] == ["a"]
