"""Rewrites the recording: `python -m tests.replay.record`, from the repository's root.

The diff of `tests/replay/recorded/` shows what has changed for users: review it before you commit it. A change of
`tests/support/tiny_package.py` changes every image and every `model_hash`.
"""

import json
import tempfile
from pathlib import Path

from .recording import prepare, record

RECORDED = Path(__file__).with_name("recorded")


def main() -> None:
    """Run all cases in a temporary folder and write their answers."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        answers = record(Path(folder))
    for name, cases in answers.items():
        file = RECORDED / f"{name}.json"
        file.write_text(to_text(cases), encoding="utf-8")


def to_text(cases: dict[str, object]) -> str:
    """JSON with a line for each case: short, and a diff names the cases that have changed."""
    lines = [f"{json.dumps(name)}: {json.dumps(answer, ensure_ascii=False)}" for name, answer in cases.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
