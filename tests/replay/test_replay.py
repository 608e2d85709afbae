"""Images, settings, results of batches and answers over HTTP are the same as recorded."""

import json
from pathlib import Path
from typing import Any

import pytest

from .cases import CALLS, COMMANDS, PATHS, REQUESTS
from .record import RECORDED
from .recording import prepare, record

RECORDING = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(RECORDED.glob("*.json"))}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Answers of the current code, as a recording has them."""
    folder: Path = tmp_path_factory.mktemp("replay")
    prepare(folder)
    answers: dict[str, dict[str, Any]] = json.loads(json.dumps(record(folder)))
    return answers


def test_every_case_is_recorded() -> None:
    assert list(RECORDING["calls"]) == list(CALLS)
    assert list(RECORDING["commands"]) == list(COMMANDS)
    assert {*REQUESTS, *(f"GET {path}" for path in PATHS)} <= RECORDING["http"].keys()


def test_no_setting_of_a_call_goes_without_effect() -> None:
    images = [image["sha256"] for answer in RECORDING["calls"].values() for image in answer.get("images", ())]
    assert len(images) > 30
    assert len({*images}) == len(images)


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part, cases in RECORDING.items() for name in cases], ids=lambda each: each
)
def test_answers_are_those_recorded(answers: dict[str, dict[str, Any]], part: str, name: str) -> None:
    answer, recorded = answers[part][name], RECORDING[part][name]
    assert answer == recorded
    assert json.dumps(answer) == json.dumps(recorded), "the order of keys"
