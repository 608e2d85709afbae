"""Tokenizers whose files would grow a text without end, or cannot be used, are refused in one line."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from triptych.runtime.errors import PackageError
from triptych.runtime.text.clip import ClipTokenizer

Json = dict[str, Any]


@pytest.fixture
def folder(package: Path, tmp_path: Path) -> Path:
    """A tokenizer of the test's own: its vocabulary alone."""
    shutil.copytree(package / "tokenizer", tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def fast(folder: Path) -> Path:
    """A tokenizer of the test's own with a tokenizer.json."""
    ClipTokenizer.read(folder).save(str(folder / "tokenizer.json"))
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(PackageError) as caught:
        ClipTokenizer.load(folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def replacing(text: str, by: str, kind: str = "String") -> Json:
    return {"type": "Replace", "pattern": {kind: text}, "content": by}


def sequence(*steps: Json) -> Json:
    return {"type": "Sequence", "normalizers": list(steps)}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
TOKEN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(normalizer=sequence(*[replacing("a", "aa")] * 40)), "normalizer has 40 steps; allowed: 8"),
        (lambda d: d.update(normalizer=sequence(*[sequence(replacing("a", "aa"))] * 8)), "256 times as long"),
        (lambda d: d.update(normalizer=replacing("a", "a" * 129)), "may make a text 129 times as long; allowed: 128"),
        (lambda d: d.update(normalizer={"type": "Prepend", "prepend": "a" * 199}), "200 times as long"),
        (lambda d: d.update(normalizer=replacing("", "a")), "pattern.String is ''"),
        (lambda d: d.update(normalizer=replacing("a*", "a", "Regex")), "pattern.Regex is 'a*'"),
        (lambda d: d.update(normalizer=replacing("(a+)+$", "a", "Regex")), "pattern.Regex is '(a+)+$'"),
        (lambda d: d.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTES] * 9}), "9 steps; allowed: 8"),
        (lambda d: d.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTES] * 8}), "256 times as long"),
        (lambda d: d.update(normalizer=5), "normalizer is 5; it should be a JSON object"),
        (lambda d: d["model"].update(dropout=0.5), "model.dropout is 0.5; it should be null"),
        (lambda d: d["model"].update(continuing_subword_prefix="x" * 99), "continuing_subword_prefix"),
        (lambda d: d["model"].update(max_input_chars_per_word=10**9), "max_input_chars_per_word"),
        (lambda d: d["model"]["vocab"].update(x=-1), "model.vocab has 'x' with id -1; allowed: 0 to 999999"),
        (lambda d: d["model"]["vocab"].update({"x" * 2000: 1}), "a token of 2000 characters; allowed: 1024"),
        (
            lambda d: d["added_tokens"].append({**TOKEN, "id": 5, "content": ""}),
            "content is ''; it should be a text of",
        ),
        (lambda d: d["added_tokens"].append({**TOKEN, "id": -5, "content": "x"}), "id is -5; it should be"),
        (
            lambda d: d["added_tokens"].extend(
                {**TOKEN, "id": 10_000 + i, "content": f"cat_{i}" if i else "cat"} for i in range(1100)
            ),
            "the token cat has 1100 vectors; allowed: 1024",
        ),
    ],
)
def test_a_tokenizer_that_grows_texts_is_refused(fast: Path, change: Callable[[Json], object], reason: str) -> None:
    file = fast / "tokenizer.json"
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))
    assert reason in refused(fast)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("vocab.json", '{"x": 1.5}', "vocab.json has 'x' with id 1.5; allowed: 0 to 999999"),
        ("vocab.json", '{"x": true}', "vocab.json has 'x' with id True"),
        ("vocab.json", json.dumps({"x" * 5000: 1}), "vocab.json has a token of 5000 characters; allowed: 1024"),
        ("merges.txt", "a b\n" * 1_000_001, "merges.txt has 1000001 lines; allowed: 1000000"),
        ("merges.txt", "a " + "b" * 5000, "merges.txt has a line of 5002 characters; allowed: 2048"),
        ("merges.txt", "a b c", "merges.txt should hold two symbols on each line, not 'a b c'"),
        ("tokenizer_config.json", '{"bos_token": 5}', "bos_token is 5; it should be a text"),
        ("tokenizer_config.json", '{"bos_token": {"content": []}}', "bos_token.content is []; it should be a text"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": 5}}', "added_tokens_decoder.x is 5"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "y"}}}', "readable tokenizer"),
        ("tokenizer_config.json", '{"additional_special_tokens": 5}', "readable tokenizer"),
        ("added_tokens.json", '{"x": "y"}', "added_tokens.json has 'x' with id 'y'"),
        ("special_tokens_map.json", "[]", "special_tokens_map.json should hold a JSON object"),
    ],
)
def test_files_with_other_values_are_refused(folder: Path, name: str, content: str, reason: str) -> None:
    (folder / name).write_text(content)
    assert reason in refused(folder)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json"])
def test_pipes_and_other_bytes_are_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xff\xfe")
    assert name in refused(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "is a pipe; allowed: a regular file" in refused(folder)
