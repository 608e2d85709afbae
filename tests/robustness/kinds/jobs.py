"""Altered files of jobs: values, bytes, separators, encodings."""

import csv
import io
import json
from pathlib import Path
from random import Random
from typing import Any

from ..alter import HOSTILE, altered_bytes, altered_json
from ..attempt import Case
from ..inputs import Inputs, succeed

_ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": "a fox", "seed": 7, "num_inference_steps": 1, "width": 64, "height": 64},
    {"id": "b", "prompt": "a heart", "guidance_scale": 1.0, "num_inference_steps": 2, "scheduler": "euler"},
]


def case(inputs: Inputs, random: Random) -> Case:
    """A JSONL or CSV file of two rows with one change."""
    suffix = random.choice(("jsonl", "jsonl", "csv"))
    data, name = _lines(random) if suffix == "jsonl" else _table(random)
    if random.random() < 0.3:
        data, change = altered_bytes(data, random)
        name = f"{name}, {change}"

    def run() -> None:
        jobs = Path(f"jobs.{suffix}")
        jobs.write_bytes(data)
        succeed("batch", inputs.package, jobs, "out", "--device", "cpu")

    return Case(f"{suffix}: {name}", run, statuses=(1,))


def _lines(random: Random) -> tuple[bytes, str]:
    text, name = altered_json(_ROWS, random)
    if "nested" in name:
        return text.encode("utf-8", "surrogatepass"), name
    lines = [json.dumps(row) for row in json.loads(text)]
    return "\n".join(lines).encode("utf-8", "surrogatepass"), name


def _table(random: Random) -> tuple[bytes, str]:
    columns = sorted({name for row in _ROWS for name in row})
    place, column = random.randrange(len(_ROWS)), random.choice(columns)
    separator, value = random.choice((",", ",", ";", "\t")), random.choice(HOSTILE)
    rows = [dict(row) for row in _ROWS]
    rows[place][column] = value
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode("utf-8", "surrogatepass"), f"{column} = {value!r:.24}, separator {separator!r}"
