"""CLIP's tokenizer equals transformers', for any Unicode text, on a vocabulary trained here."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tests.support.texts import texts_of
from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.text.clip import BOS, EOS, ClipTokenizer, build_clip_tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers

CORPUS = [
    "a red fox jumps over the lazy dog",
    "the fox's den isn't here",
    "naïve café, 東京 12 😀",
    "end of text start",
]
VOCABULARY = 560  # tokens: 256 bytes, the same as ends of words, 46 merges, BOS and EOS
BOS_ID, EOS_ID = VOCABULARY - 2, VOCABULARY - 1
LENGTH = 16  # positions, shorter than CLIP's 77 so that many texts are cut
# transformers below 5 matches special tokens in capitals too, unless a tokenizer.json says otherwise
CAPITALS_ARE_SPECIAL = int(transformers.__version__.split(".")[0]) < 5
PIECES = [
    *("<cat-toy>", "<dog>", "<DOG>"),
    *(
        BOS,
        EOS,
        EOS.upper(),
        "<|",
        "|>",
        "!",
        "!!",
        "fox",
        "Fox",
        "THE",
        "don't",
        "'S",
        "'ll",
        "’s",
        "...",
        "12",
        "٣½²",
    ),
    *(" ", "  ", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u0085", "\u200b", "\ufeff", "\x00", "\x1f", "\x7f"),
    *(
        "é",
        "e\u0301",
        "\u0300",
        "İ",
        "ß",
        "ΑΣ",
        "ﬁ",
        "ŉ",
        "ſ",
        "\u212b",
        "한",
        "\u1112\u1161\u11ab",
        "東京",
        "😀",
        "𐐀",
        "𝔘",
    ),
    *("👨\u200d👩\u200d👧", "\ufffd", "\U000e0001", "\U0010ffff"),
]
texts = texts_of(PIECES)


def described(token: str, **flags: Any) -> dict[str, Any]:
    plain = {"content": token, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return plain | flags


NAMED = {"bos_token": described(BOS), "eos_token": described(EOS), "unk_token": described(EOS)}
FLAVOURS: dict[str, dict[str, dict[str, Any]]] = {
    "bare": {"tokenizer_config.json": {"model_max_length": LENGTH}},
    "sd1": {
        "tokenizer_config.json": {
            **{name: {"__type": "AddedToken", **token} for name, token in NAMED.items()},
            "pad_token": EOS,
            "model_max_length": LENGTH,
        },
        "special_tokens_map.json": {**NAMED, "pad_token": EOS},
    },
    "sd2": {
        "tokenizer_config.json": {"pad_token": EOS, "model_max_length": LENGTH},
        "special_tokens_map.json": {**NAMED, "pad_token": "!"},
    },
    "decoder": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                "0": described("!", normalized=False, special=True),
                str(BOS_ID): described(BOS, special=True),
                str(EOS_ID): described(EOS, special=True),
            },
            **{"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": "!", "model_max_length": LENGTH},
        },
    },
    "extended": {
        "tokenizer_config.json": {"model_max_length": LENGTH},
        "added_tokens.json": {"<cat-toy>": VOCABULARY, "<dog>": VOCABULARY + 1},
    },
}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vocab.json and merges.txt, trained on `CORPUS` and laid out as CLIP's are."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Lowercase()
    words = pre_tokenizers.Split(Regex(r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True)
    trained.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=1000, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    trained.train_from_iterator(CORPUS * 2, trainer)
    folder = tmp_path_factory.mktemp("vocabulary")
    trained.model.save(str(folder))
    bytes_and_ends = [*alphabet, *(symbol + "</w>" for symbol in alphabet)]
    merges = [line.split() for line in (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:] if line]
    merges = merges[: VOCABULARY - 2 - len(bytes_and_ends)]
    tokens = [*bytes_and_ends, *("".join(pair) for pair in merges), BOS, EOS]
    assert len(set(tokens)) == len(tokens) == VOCABULARY
    write(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def folders(vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each flavour as a checkpoint has it, and, under the name with "exported", as a package does."""
    root = tmp_path_factory.mktemp("tokenizers")
    for flavour, files in FLAVOURS.items():
        folder = copy(vocabulary, root / flavour)
        for name, content in files.items():
            write(folder / name, content)
        ClipTokenizer.write(folder, root / f"{flavour} exported")
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture(scope="module")
def pairs(folders: dict[str, Path]) -> dict[str, tuple[ClipTokenizer, Any]]:
    fast = transformers.CLIPTokenizerFast
    return {name: (ClipTokenizer.load(folder), fast.from_pretrained(folder)) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def slow_tokenizer(folders: dict[str, Path]) -> Any:
    return transformers.CLIPTokenizer.from_pretrained(folders["sd1 exported"])


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def ids_of(tokenizer: Any, batch: list[str]) -> Any:
    return tokenizer(batch, padding="max_length", truncation=True, max_length=LENGTH)["input_ids"]


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_ids_equal_the_fast_tokenizer(pairs: dict[str, tuple[ClipTokenizer, Any]], text: str) -> None:
    capitals = any(token in text.lower() and token not in text for token in (BOS, EOS)) or EOS.upper() in text
    for name, (ours, theirs) in pairs.items():
        if CAPITALS_ARE_SPECIAL and capitals and "exported" not in name:
            continue
        assert ours.encode([text]).ids.tolist() == ids_of(theirs, [text]), name


@pytest.mark.skipif(
    transformers.CLIPTokenizer is transformers.CLIPTokenizerFast, reason="this transformers has one CLIP tokenizer"
)
@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_ids_equal_the_slow_tokenizer_where_it_agrees_with_the_fast_one(
    slow_tokenizer: Any, pairs: dict[str, tuple[ClipTokenizer, Any]], text: str
) -> None:
    slow = ids_of(slow_tokenizer, [text])
    ours, fast = pairs["sd1 exported"]
    assume(slow == ids_of(fast, [text]))
    assert ours.encode([text]).ids.tolist() == slow


def test_an_encoding_is_bos_words_eos_padding(pairs: dict[str, tuple[ClipTokenizer, Any]]) -> None:
    tokens = pairs["sd1"][0].encode(["", "a red fox", "fox " * 40])
    assert tokens.ids.dtype == np.int64
    assert tokens.ids.shape == (3, LENGTH)
    assert tokens.ids[0].tolist() == [BOS_ID] + [EOS_ID] * 15
    assert tokens.ids[2, 0] == BOS_ID
    assert (tokens.ids[2] == EOS_ID).nonzero()[0].tolist() == [15]
    assert pairs["sd2"][0].encode(["!"]).ids[0].tolist() == [BOS_ID, 0, EOS_ID] + [0] * 13


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("fox " * 14, ""),
        ("fox " * 14 + "  \t Lazy   Dogs! ", "Lazy   Dogs!"),
        ("fox " * 13 + "foxes", "xes"),
        ("fox " * 14 + "E\u0301cole " + EOS, "E\u0301cole " + EOS),
        ("fox " * 12 + "\U0001f98a!", "\U0001f98a!"),
    ],
)
def test_cut_quotes_the_original_text(pairs: dict[str, tuple[ClipTokenizer, Any]], text: str, cut: str) -> None:
    assert pairs["sd1"][0].encode(["a", text]).truncated == ["", cut]


@pytest.mark.parametrize(
    ("config", "length"), [({}, 77), ({"model_max_length": int(1e30)}, 77), ({"model_max_length": 16}, 16)]
)
def test_length_is_clips_where_none_is_known(
    vocabulary: Path, tmp_path: Path, config: dict[str, Any], length: int
) -> None:
    folder = copy(vocabulary, tmp_path / "tokenizer")
    write(folder / "tokenizer_config.json", config)
    assert ClipTokenizer.load(folder).encode(["a"]).ids.shape == (1, length)


def test_built_tokenizer_adds_bos_and_eos(vocabulary: Path) -> None:
    vocab = json.loads((vocabulary / "vocab.json").read_text(encoding="utf-8"))
    built = build_clip_tokenizer(vocab, [])
    assert built.encode("B").ids == [BOS_ID, vocab["b</w>"], EOS_ID]


def test_export_adds_what_is_missing(folders: dict[str, Path], tmp_path: Path) -> None:
    """From vocab and merges alone, and from tokenizer.json alone, as transformers 5 saves it."""
    complete = {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"}
    source = tmp_path / "fast only"
    source.mkdir()
    (source / "tokenizer.json").write_bytes((folders["bare exported"] / "tokenizer.json").read_bytes())
    for folder in (folders["bare"], source):
        ClipTokenizer.write(folder, tmp_path / f"{folder.name} again")
        assert {file.name for file in (tmp_path / f"{folder.name} again").iterdir()} == complete
    again = transformers.CLIPTokenizer.from_pretrained(tmp_path / "fast only again")
    assert again.model_max_length == 77
    text = "the red fox's den"
    assert ids_of(again, [text]) == ClipTokenizer.load(folders["bare"]).encode([text]).ids.tolist()


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def replace(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("vocab.json"), "has neither tokenizer.json nor vocab.json"),
        (remove("merges.txt"), "has neither tokenizer.json nor merges.txt"),
        (replace("vocab.json", '{"a": 1'), r"vocab.json cannot be read as JSON: .*line 1"),
        (replace("vocab.json", '["a"]'), "vocab.json should hold a JSON object, not a list"),
        (replace("vocab.json", '{"a": 1}'), "vocab.json lacks the special token"),
        (replace("merges.txt", "#version: 0.2\na b c\n"), "should hold two symbols on each line, not 'a b c'"),
        (replace("merges.txt", "a unheard-of\n"), "does not hold a readable tokenizer: .*unheard-of"),
        (replace("tokenizer.json", '{"model"'), "does not hold a readable tokenizer"),
        (replace("tokenizer_config.json", "{"), "tokenizer_config.json cannot be read as JSON"),
        (
            replace("tokenizer_config.json", '{"model_max_length": 1}'),
            "model_max_length 1; allowed: a number, 2 or more",
        ),
        (
            replace("tokenizer_config.json", '{"model_max_length": "77"}'),
            "model_max_length '77'; allowed: a number, 2 or more",
        ),
        (replace("tokenizer_config.json", '{"pad_token": "<pad>"}'), "pad_token '<pad>', which its vocabulary lacks"),
        (replace("special_tokens_map.json", "[]"), "special_tokens_map.json should hold a JSON object"),
    ],
)
def test_a_broken_folder_is_one_clear_line(
    vocabulary: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    folder = copy(vocabulary, tmp_path / "tokenizer")
    spoil(folder)
    with pytest.raises(PackageError, match=message) as raised:
        ClipTokenizer.load(folder)
    assert "\n" not in str(raised.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"tokenizer is missing: it should hold tokenizer\.json"):
        ClipTokenizer.load(tmp_path / "tokenizer")


def test_a_lone_surrogate_is_refused(pairs: dict[str, tuple[ClipTokenizer, Any]]) -> None:
    with pytest.raises(ArgumentError, match="not valid Unicode at character 4"):
        pairs["sd1"][0].encode(["fox \ud800"])
