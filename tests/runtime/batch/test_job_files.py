"""Files of jobs as spreadsheets, pandas and other programs write them, and as accidents leave them."""

import datetime
import decimal
import io
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.runtime.batch.rows import Row, read
from triptych.runtime.errors import ArgumentError

FOX = [Row("1", {"prompt": "a fox, red", "seed": 7})]
MANGLED = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def rows_of(folder: Path, content: str | bytes, suffix: str = "csv") -> list[Row]:
    path = folder / f"jobs.{suffix}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path)


@pytest.mark.parametrize(
    "text",
    [
        'id,prompt,seed\n1,"a fox, red",7\n',
        "id;prompt;seed\n1;a fox, red;7\n",
        "id\tprompt\tseed\r\n1\ta fox, red\t7\r\n",
        'id,prompt,seed,,\n1,"a fox, red",7,,\n',
        "id;prompt;seed;;\r\n1;a fox, red;7;;\r\n;;;;\r\n\r\n",
        ' id, prompt ,seed\n1,"a fox, red",7\n',
        '"id";"prompt";"seed"\n"1";"a fox, red";"7"\n',
        'id,prompt,seed,eta,negative_prompt,scheduler\n1,"a fox, red",7,NaN,nan,<NA>\n',
    ],
    ids=["comma", "semicolon", "tab", "empty columns", "empty rows", "spaces", "quotes", "pandas' missing values"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_layouts_of_csv(tmp_path: Path, text: str, encoding: str) -> None:
    assert rows_of(tmp_path, text.encode(encoding)) == FOX


def test_a_cell_in_a_column_without_a_name_is_refused(tmp_path: Path) -> None:
    """As pandas' to_csv writes its index."""
    with pytest.raises(ArgumentError, match="line 2: '0' is in a column without a name"):
        rows_of(tmp_path, ",id,prompt\n0,1,a fox\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_layouts_of_json_lines(tmp_path: Path, encoding: str) -> None:
    record = {"id": 1, "prompt": "a fox, red", "seed": 7, "eta": float("nan"), "negative_prompt": float("nan")}
    assert rows_of(tmp_path, f"\r\n{json.dumps(record)}\r\n\r\n  \n".encode(encoding), "jsonl") == FOX


def test_missing_values_of_pandas_in_each_format(tmp_path: Path) -> None:
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(
        {"id": ["a", "b"], "prompt": ["a fox", "an owl"], "seed": [7, None], "scheduler": [None, "ddim"]}
    )
    frame["eta"] = pandas.array([None, 0.5], dtype="Float64")
    frame.to_csv(tmp_path / "jobs.csv", index=False, na_rep="NA")
    frame.to_parquet(tmp_path / "jobs.parquet")
    lines = [json.dumps(record, default=lambda _: None) for record in frame.to_dict("records")]
    (tmp_path / "jobs.jsonl").write_text("\n".join(lines))
    expected = read(tmp_path / "jobs.jsonl")
    assert [row.reason for row in expected] == ["", ""]
    assert expected[0].settings == {"prompt": "a fox", "seed": 7}
    assert read(tmp_path / "jobs.csv") == expected
    assert read(tmp_path / "jobs.parquet") == expected


@pytest.mark.parametrize(
    "name",
    ["👨\u200d👩\u200d👧", "fox\u00a01", "лиса" * 30, "赤い狐" * 30, "x" * 5000, "é" * 99, "a=b", "%41" * 99],
    ids=["joined emoji", "no-break space", "Cyrillic", "Japanese", "long", "accents", "equals", "percent"],
)
def test_an_id_of_any_script_and_length_names_a_file(tmp_path: Path, name: str) -> None:
    line = json.dumps({"id": name, "prompt": "a fox"}, ensure_ascii=False)
    (row,) = rows_of(tmp_path, line, "jsonl")
    assert row.id == name
    (tmp_path / f".{row.file}.partial").touch()  # the longest name that is written
    beginning, _, digest = row.file.removesuffix(".png").partition("=")
    assert len(digest) in (0, 64)
    assert name.startswith(unquote(beginning, errors="ignore"))
    assert digest or unquote(beginning) == name


@given(names=st.lists(st.text(st.sampled_from("aä猫=%/."), min_size=1, max_size=400), min_size=2, unique=True))
def test_files_of_different_ids_differ(names: list[str]) -> None:
    files = {Row(name, {}).file for name in names}
    assert len(files) == len(names)
    more = {Row(file.removesuffix(".png"), {}).file for file in files} - files
    assert files.isdisjoint(more)


def one_line(folder: Path, content: bytes, suffix: str) -> list[Row]:
    """Rows, or none where the file is refused in one line that names it."""
    refusal = ""
    try:
        rows = rows_of(folder, content, suffix)
    except ArgumentError as error:
        refusal, rows = str(error), []
    assert len(refusal.splitlines()) == (not rows)
    assert rows or "jobs." in refusal
    for row in rows:
        assert len(row.reason.splitlines()) <= 1
        assert row.fingerprint("m")
    return rows


PIECES = st.sampled_from(
    [
        b"\n",
        b"\r",
        b",",
        b";",
        b'"',
        b"{",
        b"}",
        b"[",
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"NaN",
        b"\\ud800",
        b"9" * 5000,
    ]
)
TEXTS = {
    "csv": 'id,prompt,seed,guidance_scale\n1,"a fox, red",7,"1,2"\n2,an owl,,3\n',
    "jsonl": '{"id": 1, "prompt": "a fox", "seed": 7}\n{"id": 2, "prompt": "an owl", "guidance_scale": [1, 2]}\n',
}


@MANGLED
@given(suffix=st.sampled_from(sorted(TEXTS)), data=st.data())
def test_a_mangled_text_has_rows_or_an_error_in_one_line(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    content = TEXTS[suffix].encode()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(start + 8, len(content))))
        content = content[:start] + data.draw(st.one_of(PIECES, st.binary(max_size=4))) + content[end:]
    one_line(tmp_path, content, suffix)


@pytest.mark.parametrize("depth", [20, 900, 100_000])
def test_deep_json_is_refused_or_a_failed_row(tmp_path: Path, depth: int) -> None:
    line = '{"id": 1, "prompt": "a fox", "sigmas": ' + "[" * depth + "]" * depth + "}\n"
    rows = one_line(tmp_path, line.encode(), "jsonl")
    assert all(row.reason.startswith("sigmas is [[[") for row in rows)


def test_numbers_beyond_any_type_are_refused_or_a_failed_row(tmp_path: Path) -> None:
    for number in ("9" * 4000, "9" * 5000, "1e999", "-" + "9" * 400):
        for name in ("seed", "eta", "id", "prompt", "sigmas"):
            content = json.dumps({"id": 1, "prompt": "a fox"})[:-1] + f', "{name}": {number}}}'
            one_line(tmp_path, content.encode(), "jsonl")


def parquet(columns: dict[str, Any]) -> bytes:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@MANGLED
@given(data=st.data())
def test_a_damaged_parquet_file_has_rows_or_an_error_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    content = parquet({"id": ["a", "b"], "prompt": ["a fox", "an owl"], "seed": [7, None]})
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, max(0, len(content) - 1)))
        content = content[:place] + data.draw(st.binary(min_size=1, max_size=2)) + content[place + 1 :]
    one_line(tmp_path, content, "parquet")


def test_column_types_of_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    usable = {
        "id": pa.array([1, 2], pa.int8()),
        "prompt": pa.array(["a fox", "an owl"]).dictionary_encode(),
        "negative_prompt": pa.array(["grey", None], pa.large_string()),
        "seed": pa.array([7.0, float("nan")], pa.float32()),
        "sigmas": pa.array([[2.0, 0.0], None], pa.list_(pa.float64())),
    }
    rows = one_line(tmp_path, parquet(usable), "parquet")
    assert [row.reason for row in rows] == ["", ""]
    assert rows[0].settings == {"prompt": "a fox", "negative_prompt": "grey", "seed": 7, "sigmas": [2.0, 0.0]}
    odd = [
        pa.array([b"\xff\xfe"], pa.binary()),
        pa.array([decimal.Decimal("7.50")]),
        pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)]),
        pa.array([{"a": [{"b": 2}]}]),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([True]),
        pa.array([datetime.timedelta(1)]),
    ]
    for values in odd:
        for name in ("seed", "prompt", "sigmas"):
            record = {"id": ["a"], "prompt": ["a fox"], name: values}
            (row,) = one_line(tmp_path, parquet(record), "parquet")
            assert row.reason.startswith(f"{name} is ")
        assert one_line(tmp_path, parquet({"id": values, "prompt": ["a fox"]}), "parquet") == []
    # A failed row where pandas is installed, else the file is refused: Python's times end at microseconds
    one_line(
        tmp_path, parquet({"id": ["a"], "prompt": ["a fox"], "seed": pa.array([1], pa.timestamp("ns"))}), "parquet"
    )


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        (tmp_path / f"folder.{suffix}").mkdir()
        os.mkfifo(tmp_path / f"pipe.{suffix}")
        for name in ("folder", "pipe"):
            with pytest.raises(ArgumentError, match=f"{name}.{suffix} is a {name}; allowed: a regular file"):
                read(tmp_path / f"{name}.{suffix}")
