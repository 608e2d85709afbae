"""T5's tokenizer equals transformers', for any Unicode text, on a vocabulary trained here."""

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from tokenizers import Tokenizer

from tests.support.texts import texts_of
from triptych.benchmarks.checkpoints.unigram import write_unigram
from triptych.export.checkpoint.sentencepiece import with_steps
from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.text.chunks import chunked
from triptych.runtime.text.t5 import T5Tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers

CORPUS = [
    "a red fox jumps over the lazy dog",
    "the fox's den isn't here",
    "naïve café, 東京 12 😀",
    "end of text start",
]
VOCABULARY = 90  # pieces; 100 further tokens are T5's own
LENGTH = 16  # tokens, so that many texts are cut
PAD, END, UNKNOWN = range(3)
SPACE = "\u2581"
PIECES = [
    *("<extra_id_0>", "<extra_id_99>", "<extra_id_100>", "</s>", "</S>", "<pad>", "<unk>", "<", ">", "s>"),
    *("fox", "Fox", "the", "don't", "’s", "...", "12", "٣½²", SPACE, f"a{SPACE}b", f"{SPACE}{SPACE}"),
    *(" ", "  ", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u0085", "\u200b", "\ufeff", "\x00", "\x1f", "\x7f"),
    *("é", "e\u0301", "\u0300", "İ", "ß", "ﬁ", "\u212b", "한", "\u1112\u1161\u11ab", "東京", "😀", "𝔘", "\ufdfa"),
    *("👨\u200d👩\u200d👧", "\ufffd", "\U000e0001", "\U0010ffff"),
]
texts = texts_of(PIECES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tokenizers: as Google released T5, as transformers 5 and 4 save it, and as the small checkpoints have it."""
    root = tmp_path_factory.mktemp("tokenizers")
    for name in ("model", "converted", "published"):
        (root / name).mkdir()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 20),
        model_writer=model,
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        pad_id=PAD,
        eos_id=END,
        unk_id=UNKNOWN,
        bos_id=-1,
        minloglevel=2,
    )
    (root / "model" / "spiece.model").write_bytes(model.getvalue())
    with with_steps(root / "model") as whole:
        T5Tokenizer.write(whole, root / "converted")
    transformers.T5TokenizerFast.from_pretrained(root / "model").save_pretrained(root / "saved")
    published = Tokenizer.from_file(str(root / "converted" / "tokenizer.json"))
    characters = json.loads(published.to_str())["normalizer"]
    table = next(step for step in (characters, *characters.get("normalizers", ())) if step["type"] == "Precompiled")
    steps = {
        "type": "Sequence",
        "normalizers": [
            table,
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": SPACE},
        ],
    }
    file = json.loads(published.to_str())
    space = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
    file |= {"normalizer": steps, "pre_tokenizer": space}
    (root / "published" / "tokenizer.json").write_text(json.dumps(file), encoding="utf-8")
    write_unigram(root / "small", 400)
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture(scope="module")
def pairs(folders: dict[str, Path]) -> dict[str, tuple[T5Tokenizer, Any]]:
    """Ours and transformers'. It rebuilds the steps of a T5Tokenizer, and takes those of the file for other classes."""
    fast = transformers.T5TokenizerFast
    published = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folders["published"] / "tokenizer.json"), pad_token="<pad>"
    )
    return {
        "converted": (T5Tokenizer.load(folders["converted"], LENGTH), fast.from_pretrained(folders["model"])),
        "saved": (T5Tokenizer.load(folders["saved"], LENGTH), fast.from_pretrained(folders["saved"])),
        "published": (T5Tokenizer.load(folders["published"], LENGTH), published),
        "small": (T5Tokenizer.load(folders["small"], LENGTH), fast.from_pretrained(folders["small"])),
    }


def encoding(tokenizer: Any, text: str) -> tuple[list[list[int]], list[list[int]]]:
    """Ids and mask as diffusers' pipelines ask for them."""
    given = tokenizer([text], padding="max_length", truncation=True, max_length=LENGTH)
    return given["input_ids"], given["attention_mask"]


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_ids_and_mask_equal_those_of_transformers(pairs: dict[str, tuple[T5Tokenizer, Any]], text: str) -> None:
    for name, (ours, theirs) in pairs.items():
        tokens = ours.encode([text])
        assert (tokens.ids.tolist(), tokens.mask.tolist()) == encoding(theirs, text), name


@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_published_files_give_the_ids_of_the_model(pairs: dict[str, tuple[T5Tokenizer, Any]], text: str) -> None:
    """But for two characters, at which the steps of transformers 4 and 5 divide words differently."""
    text = text.replace(SPACE, "").replace("\u0085", "")
    assert pairs["published"][0].encode([text]).ids.tolist() == pairs["converted"][0].encode([text]).ids.tolist()


@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_chunks_of_plain_prompts_have_the_same_ids(pairs: dict[str, tuple[T5Tokenizer, Any]], text: str) -> None:
    for ours, _ in pairs.values():
        if not set(text) & set("()[]\\"):
            assert chunked(ours, text, max_chunks=1).ids.tolist() == ours.encode([text]).ids.tolist()


def test_an_encoding_is_words_end_padding(pairs: dict[str, tuple[T5Tokenizer, Any]]) -> None:
    tokens = pairs["small"][0].encode(["", "a", "a " * 40])
    assert tokens.ids.dtype == tokens.mask.dtype == np.int64
    assert tokens.ids.shape == tokens.mask.shape == (3, LENGTH)
    assert tokens.ids[0].tolist() == [END] + [PAD] * 15
    assert tokens.mask.sum(1).tolist() == [1, 2, LENGTH]
    assert (tokens.ids[2] == END).nonzero()[0].tolist() == [15]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("12 " * 5, ""),
        ("12 " * 5 + "  \t 345!  ", "345!"),
        ("aaaaaaa aaaaaaa", "a"),
        ("12 " * 5 + "\ufdfa E\u0301 </s>", "\ufdfa E\u0301 </s>"),
    ],
)
def test_cut_quotes_the_original_text(pairs: dict[str, tuple[T5Tokenizer, Any]], text: str, cut: str) -> None:
    assert pairs["converted"][0].encode(["a", text]).truncated == ["", cut]


def test_weights_stand_at_the_pieces_of_their_words(pairs: dict[str, tuple[T5Tokenizer, Any]]) -> None:
    ours = pairs["converted"][0]
    chunks = chunked(ours, "a (fox:1.5) den", 1)
    first, weighted = len(ours.words("a")), len(ours.words("fox"))
    assert chunks.weights[0].tolist() == [1.0] * first + [1.5] * weighted + [1.0] * (LENGTH - first - weighted)


@pytest.mark.parametrize(("config", "length"), [({}, 512), ({"model_max_length": 300}, 300)])
def test_length_is_stated_or_t5s(folders: dict[str, Path], tmp_path: Path, config: dict[str, Any], length: int) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folders["published"] / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert T5Tokenizer.load(tmp_path).encode(["a"]).ids.shape == (1, length)


def test_a_package_has_the_steps_beside_the_model(folders: dict[str, Path]) -> None:
    names = {file.name for file in folders["converted"].iterdir()}
    assert names == {"spiece.model", "tokenizer.json", "tokenizer_config.json"}
    assert {file.name for file in folders["model"].iterdir()} == {"spiece.model"}


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text((folder / name).read_text().replace(old, new, 1))


def write(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("tokenizer.json"), "has no tokenizer.json"),
        (replace("tokenizer.json", '["a",', '["a", "b",'), r"model.vocab has \['a', 'b', .*; allowed: up to 1024"),
        (replace("tokenizer.json", '["a",', f'["{"a" * 2000}",'), r"model.vocab has \['aaa"),
        (replace("tokenizer.json", '"unk_id": 2', '"unk_id": 2000'), "does not hold a readable tokenizer"),
        (replace("tokenizer.json", '"precompiled_charsmap": "', '"precompiled_charsmap": "!'), "text in base64"),
        (write("tokenizer_config.json", '{"unk_token": "<x>"}'), "unk_token '<x>', which its vocabulary lacks"),
    ],
)
def test_a_broken_folder_is_one_clear_line(
    folders: dict[str, Path], tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folders["published"] / "tokenizer.json").read_bytes())
    spoil(tmp_path)
    with pytest.raises(PackageError, match=message) as raised:
        T5Tokenizer.load(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_broken_model_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"\xff" * 9)
    with pytest.raises(PackageError, match=r"spiece\.model cannot be read") as raised, with_steps(tmp_path):
        pass
    assert "\n" not in str(raised.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"tokenizer is missing: it should hold tokenizer\.json$"):
        T5Tokenizer.load(tmp_path / "tokenizer")


def test_a_lone_surrogate_is_refused(pairs: dict[str, tuple[T5Tokenizer, Any]]) -> None:
    with pytest.raises(ArgumentError, match="not valid Unicode at character 4"):
        pairs["small"][0].encode(["fox \ud800"])
