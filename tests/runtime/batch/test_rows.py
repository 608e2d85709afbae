"""Files of jobs, and what is said of those that cannot be used."""

import csv
import inspect
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from triptych.runtime import TextToImage
from triptych.runtime.batch.rows import Row, read, seed_of
from triptych.runtime.batch.values import VALUES
from triptych.runtime.errors import ArgumentError

RECORDS: list[dict[str, Any]] = [
    {"id": "fox", "prompt": 'a red fox, "quick"\nand brown', "negative_prompt": "grey", "guidance_scale": 3.5},
    {"id": "owl", "prompt": "an owl — eule", "seed": 2**62 + 1, "num_inference_steps": 4, "width": 64, "eta": 1.0},
    {"id": "7", "prompt": "a cat", "sigmas": [3.0, 1.0, 0.0], "target_size": [64, 96], "scheduler": "ddim"},
]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    """The records in the format that the name ends in."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n\n" for record in records), encoding="utf-8-sig")
    elif path.suffix == ".csv":
        names = list(dict.fromkeys(name for record in records for name in record))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for record in records:
                cells = {name: ",".join(map(str, v)) if isinstance(v, list) else v for name, v in record.items()}
                writer.writerow(cells)
    else:
        pa = pytest.importorskip("pyarrow", reason="Parquet needs triptych[parquet]")
        import pyarrow.parquet as pq

        names = list(dict.fromkeys(name for record in records for name in record))
        pq.write_table(pa.Table.from_pylist([{name: record.get(name) for name in names} for record in records]), path)
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_each_format_says_the_same(suffix: str, tmp_path: Path) -> None:
    rows = read(write(tmp_path / f"jobs.{suffix}", RECORDS))
    expected = [Row(record["id"], {name: record[name] for name in record if name != "id"}) for record in RECORDS]
    for row in expected:
        row.settings.setdefault("seed", seed_of(row.id))
    assert rows == expected
    assert [row.fingerprint("m") for row in rows] == [row.fingerprint("m") for row in expected]


def test_whole_numbers_may_be_written_as_floats(tmp_path: Path) -> None:
    """As pandas writes a column of them that has gaps."""
    rows = read(write(tmp_path / "jobs.csv", [{"id": 1, "prompt": "a fox", "seed": 7.0, "width": "64.0"}]))
    assert rows == [Row("1", {"prompt": "a fox", "seed": 7, "width": 64})]
    assert {type(rows[0].settings[name]) for name in ("seed", "width")} == {int}


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_options_of_the_scheduler_are_an_object_or_its_text(suffix: str, tmp_path: Path) -> None:
    options = {"use_karras_sigmas": True, "steps_offset": 2}
    cell = json.dumps(options) if suffix == "csv" else options
    other = {"id": "b", "prompt": "a fox", "scheduler_options": None}
    rows = read(write(tmp_path / f"jobs.{suffix}", [{"id": "a", "prompt": "a fox", "scheduler_options": cell}, other]))
    assert [row.settings.get("scheduler_options") for row in rows] == [options, None]


def test_the_columns_are_the_arguments_of_one_picture() -> None:
    arguments = set(inspect.signature(TextToImage.__call__).parameters)
    of_a_call = {
        "self",
        "num_images_per_prompt",
        "latents",
        "prompt_embeds",
        "negative_prompt_embeds",
        "callback",
        "progress",
    }
    assert set(VALUES) == arguments - of_a_call


def test_a_row_without_a_seed_has_that_of_its_id(tmp_path: Path) -> None:
    """The same on every machine and in every version: pinned."""
    rows = read(write(tmp_path / "jobs.jsonl", [{"id": name, "prompt": "a fox"} for name in ("a", "b")]))
    assert [row.settings["seed"] for row in rows] == [0xCA978112, 0x3E23E816]


@pytest.mark.parametrize("name", ["a", "a/b", "..", ".hidden", "a b", "100%", "%2E", "ä", "猫", "con:1", "x" * 236])
def test_a_file_is_named_by_the_id_and_can_be_told_back(name: str) -> None:
    file = Row(name, {}).file
    assert unquote(file.removesuffix(".png")) == name
    assert "/" not in file
    assert file[0] != "."
    assert file.isascii()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"seed": "x"}, "seed is 'x'; allowed: a whole number"),
        ({"seed": True}, "seed is True; allowed: a whole number"),
        ({"width": 64.5}, "width is 64.5; allowed: a whole number"),
        ({"height": float("inf")}, "height is inf; allowed: a whole number"),
        ({"eta": float("-inf")}, "eta is -inf; allowed: a finite number"),
        (
            {"guidance_scale": [1, float("nan")]},
            "guidance_scale is [1, nan]; allowed: a finite number, or a list of them",
        ),
        ({"guidance_interval": 3}, "guidance_interval is 3; allowed: a list of finite numbers"),
        ({"sigmas": "1,x"}, "sigmas is '1,x'; allowed: a list of finite numbers, or a name"),
        ({"negative_prompt": 5}, "negative_prompt is 5; allowed: a text"),
        ({"prompt": None}, "no prompt: give a text"),
        ({"scheduler_options": "a=1"}, "scheduler_options is 'a=1'; allowed: a JSON object"),
        ({"scheduler_options": [1]}, "scheduler_options is [1]; allowed: a JSON object"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_used_is_said_in_its_row(settings: dict[str, Any], reason: str, tmp_path: Path) -> None:
    good = {"id": "good", "prompt": "a fox"}
    rows = read(write(tmp_path / "jobs.jsonl", [{"id": "bad", "prompt": "a fox"} | settings, good]))
    assert [row.reason for row in rows] == [reason, ""]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("j.jsonl", '{"id": "a", "prompt": "x", "step": 3}', "unknown column 'step'; allowed: id, prompt,"),
        ("j.csv", "id,prompt,sed\na,b,3\n", "line 2: unknown column 'sed'; did you mean seed?"),
        ("j.jsonl", '{"prompt": "x"}', "line 1: id is None; each row needs one of its own"),
        ("j.jsonl", '{"id": "", "prompt": "x"}', "id is ''"),
        ("j.jsonl", '{"id": "a\\nb", "prompt": "x"}', "each row needs one of its own, a printable text"),
        ("j.jsonl", '{"id": "\\ud800", "prompt": "x"}', "each row needs one of its own, a printable text"),
        ("j.jsonl", '{"id": 1.5, "prompt": "x"}', "id is 1.5"),
        ("j.csv", "id,prompt\na,x\nb,x\na,x\nc,x\nb,x\n", "ids must be unique; more than once: 'a', 'b'"),
        ("j.jsonl", '{"id": "1", "prompt": "x"}\n{"id": 1, "prompt": "x"}', "more than once: '1'"),
        ("j.jsonl", '{"id": "a", "prompt": "x"}\n{"id":', "line 2: no JSON"),
        ("j.jsonl", "[1]", "line 1: list where an object is needed"),
        ("j.jsonl", "\n", "has no rows"),
        ("j.csv", "id,prompt\n", "has no rows"),
        ("j.csv", "id,prompt\na,b,c\n", "line 2: more cells than the 2 columns"),
        ("j.csv", "id,id,prompt\na,b,c\n", "two columns have one name"),
        ("j.csv", 'id,prompt\na,"b\n', "no CSV"),
        ("j.csv", b"id,prompt\na,\xff\n", "is not UTF-8 text"),
        ("j.parquet", "nonsense", "cannot be read as Parquet"),
        ("j.txt", "a fox", "jobs are in files that end in .jsonl, .csv, .parquet"),
        ("missing.jsonl", None, "does not exist"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    file: str, content: str | bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / file
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ArgumentError) as refused:
        read(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
