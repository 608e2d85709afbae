"""BERT's tokenizer equals transformers', for any Unicode text, on a vocabulary written here."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

from tests.support.texts import texts_of
from triptych.benchmarks.checkpoints.wordpiece import write_wordpiece
from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.text.chunks import chunked
from triptych.runtime.text.wordpiece import BertTokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers

LENGTH = 77
PAD, UNK, START, END, MASK = range(5)
WORDS = ["fox", "Fox", "den", "東", "é", "naïve", "cafe", "##ı", "한", "✨", "ss", "##ß"]
"""Beside the characters and pieces that `write_wordpiece` makes up."""
PIECES = [
    *("fox", "Foxes", "THE DEN", "naïve", "cafe\u0301", "ß", "İ", "ı", "東京", "한", "\u1112\u1161\u11ab", "✨", "😀"),
    *("[MASK]", "[mask]", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[", "]", "##es", "#", "don't", "...", "12", "٣½²", "$"),
    *(" ", "  ", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\ufeff", "\x00", "\x7f", "\ufffd", "\u0300"),
    *("x" * 101, "e" * 100),
]
texts = texts_of(PIECES)

CONFIGS: dict[str, dict[str, Any]] = {
    "as published": {"do_lower_case": True, "model_max_length": 512, "tokenizer_class": "BertTokenizer"},
    "cased": {"do_lower_case": False, "tokenize_chinese_chars": False, "tokenizer_class": "BertTokenizer"},
    "accents": {"do_lower_case": True, "strip_accents": False, "tokenizer_class": "BertTokenizer"},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each configuration as a checkpoint has it, and, under the name with "exported", as a package does."""
    root = tmp_path_factory.mktemp("tokenizers")
    for name, config in CONFIGS.items():
        write_wordpiece(root / name, 300)
        with (root / name / "vocab.txt").open("a", encoding="utf-8") as file:
            file.write("\n".join(WORDS) + "\n")
        (root / name / "tokenizer_config.json").write_text(json.dumps(config))
        (root / name / "added_tokens.json").write_text("{}")
        BertTokenizer.write(root / name, root / f"{name} exported")
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture(scope="module")
def pairs(folders: dict[str, Path]) -> dict[str, tuple[BertTokenizer, Any]]:
    fast = transformers.BertTokenizerFast
    return {name: (BertTokenizer.load(folder), fast.from_pretrained(folder)) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def slow(folders: dict[str, Path]) -> Any:
    return transformers.BertTokenizer.from_pretrained(folders["as published"])


def ids_of(tokenizer: Any, text: str) -> Any:
    """As `LDMTextToImagePipeline` asks for them."""
    return tokenizer([text], padding="max_length", max_length=LENGTH, truncation=True)["input_ids"]


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_ids_equal_the_fast_tokenizer(pairs: dict[str, tuple[BertTokenizer, Any]], text: str) -> None:
    for name, (ours, theirs) in pairs.items():
        assert ours.encode([text]).ids.tolist() == ids_of(theirs, text), name


@pytest.mark.skipif(
    transformers.BertTokenizer is transformers.BertTokenizerFast, reason="this transformers has one BERT tokenizer"
)
@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_ids_equal_the_slow_tokenizer_where_it_agrees_with_the_fast_one(
    slow: Any, pairs: dict[str, tuple[BertTokenizer, Any]], text: str
) -> None:
    ours, fast = pairs["as published"]
    given = ids_of(slow, text)
    assume(given == ids_of(fast, text))
    assert ours.encode([text]).ids.tolist() == given


def test_an_encoding_is_start_words_end_padding(pairs: dict[str, tuple[BertTokenizer, Any]]) -> None:
    tokens = pairs["as published"][0].encode(["", "a fox", "fox " * 100])
    assert tokens.ids.dtype == np.int64
    assert tokens.ids.shape == (3, LENGTH)  # and not 512
    assert tokens.ids[0].tolist() == [START, END] + [PAD] * 75
    assert (tokens.ids[2] == END).nonzero()[0].tolist() == [76]
    assert len(set(tokens.ids[2, 1:-1].tolist())) == 1
    assert tokens.truncated == ["", "", ("fox " * 25).strip()]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("fox " * 75, ""),
        ("fox " * 75 + "  \t Lazy   Dogs! ", "Lazy   Dogs!"),
        ("fox " * 74 + "foxes", "es"),
        ("fox " * 75 + "E\u0301cole [MASK]", "E\u0301cole [MASK]"),
    ],
)
def test_cut_quotes_the_original_text(pairs: dict[str, tuple[BertTokenizer, Any]], text: str, cut: str) -> None:
    assert pairs["as published"][0].encode(["a", text]).truncated == ["", cut]


def test_weights_stand_at_the_pieces_of_their_words(pairs: dict[str, tuple[BertTokenizer, Any]]) -> None:
    chunks = chunked(pairs["as published"][0], "a (foxes:1.5) den", 1)
    assert chunks.weights[0, :6].tolist() == [1, 1, 1.5, 1.5, 1, 1]
    assert chunks.ids[0].tolist() == pairs["as published"][0].encode(["a foxes den"]).ids[0].tolist()


def test_export_adds_what_is_missing(folders: dict[str, Path], tmp_path: Path) -> None:
    """From the vocabulary alone, and from tokenizer.json alone, as transformers 5 saves it."""
    complete = {"tokenizer.json", "vocab.txt", "tokenizer_config.json"}
    for name, file in (("bare", "vocab.txt"), ("fast only", "tokenizer.json")):
        (tmp_path / name).mkdir()
        source = (folders["as published exported"] / file).read_bytes()
        (tmp_path / name / file).write_bytes(source)
        BertTokenizer.write(tmp_path / name, tmp_path / f"{name} again")
        assert {each.name for each in (tmp_path / f"{name} again").iterdir()} == complete
        again = transformers.BertTokenizer.from_pretrained(tmp_path / f"{name} again")
        text = "The Foxes' den, [MASK]"
        assert ids_of(again, text) == BertTokenizer.load(folders["as published"]).encode([text]).ids.tolist()
        vocabulary = (folders["as published"] / "vocab.txt").read_text(encoding="utf-8").split()
        assert (tmp_path / f"{name} again" / "vocab.txt").read_text(encoding="utf-8").split() == vocabulary


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def replace(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("vocab.txt"), "has neither tokenizer.json nor vocab.txt"),
        (replace("vocab.txt", "fox\n##es\n"), r"vocab.txt lacks the special token '\[UNK\]'"),
        (replace("tokenizer.json", '{"model"'), "does not hold a readable tokenizer"),
        (replace("special_tokens_map.json", '{"mask_token": "<mask>"}'), "mask_token '<mask>', which its vocabulary"),
        (replace("tokenizer_config.json", '{"do_lower_case": "yes"}'), "does not hold a readable tokenizer"),
    ],
)
def test_a_broken_folder_is_one_clear_line(
    folders: dict[str, Path], tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    for file in folders["as published"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path)
    with pytest.raises(PackageError, match=message) as raised:
        BertTokenizer.load(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"tokenizer is missing: it should hold tokenizer\.json, or vocab\.txt"):
        BertTokenizer.load(tmp_path / "tokenizer")


def test_a_lone_surrogate_is_refused(pairs: dict[str, tuple[BertTokenizer, Any]]) -> None:
    with pytest.raises(ArgumentError, match="not valid Unicode at character 4"):
        pairs["as published"][0].encode(["fox \ud800"])
