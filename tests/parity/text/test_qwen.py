"""Qwen's tokenizer and chat template equal transformers', for any Unicode text, on a vocabulary trained here."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.support.texts import texts_of
from triptych.export.checkpoint.chat import chat_template
from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.package.manifest import Template
from triptych.runtime.text.byte_pairs import QwenTokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers

CORPUS = ["a red fox jumps over the lazy dog", "the fox's den isn't here", "naïve café, 東京 12 😀", "user assistant"]
LENGTH = 40  # tokens, of which the template has about half, so that many texts are cut
END, START, STOP, THINK, THOUGHT = ADDED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
BEFORE, AFTER = f"{START}user\n", f"{STOP}\n{START}assistant\n"
NO_THINKING = f"{THINK}\n\n{THOUGHT}\n\n"
CHAT = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)
PIECES = [
    *ADDED,
    *("<|IM_END|>", "<|", "|>", "<think", "!", "fox", " Fox", "THE", "don't", "'S", "'ll", "’s", "...", "12", "٣½²"),
    *(
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "\r\n",
        "\u00a0",
        "\u2003",
        "\u3000",
        "\u0085",
        "\u200b",
        "\ufeff",
        "\x00",
        "\x7f",
    ),
    *("é", "e\u0301", "\u0300", "İ", "ß", "ſ", "ﬁ", "\u212b", "한", "\u1112\u1161\u11ab", "東京", "😀", "𐐀", "𝔘"),
    *("👨\u200d👩\u200d👧", "\ufffd", "\U000e0001", "\U0010ffff"),
]
texts = texts_of(PIECES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tokenizer as Qwen releases it without its tokenizer.json, as a package has it, and as transformers saves it."""
    root = tmp_path_factory.mktemp("tokenizers")
    (root / "vocabulary").mkdir()
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained.train_from_iterator(
        CORPUS * 2, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    )
    trained.model.save(str(root / "vocabulary"))
    size = trained.get_vocab_size()
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    config = {
        "added_tokens_decoder": {
            str(size + number): {"content": token, **flags, "special": "think" not in token}
            for number, token in enumerate(ADDED)
        },
        "additional_special_tokens": [START, STOP],
        "bos_token": None,
        "chat_template": CHAT,
        "eos_token": STOP,
        "model_max_length": 131072,
        "pad_token": END,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    (root / "vocabulary" / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    QwenTokenizer.write(root / "vocabulary", root / "exported")
    transformers.Qwen2TokenizerFast.from_pretrained(root / "vocabulary").save_pretrained(root / "saved")
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture(scope="module")
def pairs(folders: dict[str, Path]) -> dict[str, tuple[QwenTokenizer, Any]]:
    template = chat_template(folders["exported"], thinking=False)
    fast = transformers.Qwen2TokenizerFast
    return {
        name: (QwenTokenizer.load(folder, LENGTH, template), fast.from_pretrained(folder))
        for name, folder in folders.items()
    }


@pytest.fixture(scope="module")
def plain(folders: dict[str, Path]) -> QwenTokenizer:
    """Without a template."""
    return QwenTokenizer.load(folders["exported"])


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_ids_and_mask_equal_those_of_transformers(pairs: dict[str, tuple[QwenTokenizer, Any]], text: str) -> None:
    """As diffusers' pipeline of FLUX.2 klein asks for them."""
    for name, (ours, theirs) in pairs.items():
        message = [{"role": "user", "content": text}]
        whole = theirs.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=False)
        given = theirs([whole], padding="max_length", truncation=True, max_length=LENGTH)
        tokens = ours.encode([text])
        assert tokens.ids.tolist() == given["input_ids"], name
        assert tokens.mask.tolist() == given["attention_mask"], name


@settings(max_examples=100, deadline=None)
@given(several=st.lists(texts, min_size=1, max_size=3))
def test_without_padding_rows_are_as_long_as_the_longest(
    pairs: dict[str, tuple[QwenTokenizer, Any]], several: list[str]
) -> None:
    ours, theirs = pairs["exported"]
    tokens = ours.encode(several, padded=False)
    wholes = [f"{ours.template.before}{text}{ours.template.after}" for text in several]
    given = theirs(wholes, padding="longest", truncation=True, max_length=LENGTH)
    assert (tokens.ids.tolist(), tokens.mask.tolist()) == (given["input_ids"], given["attention_mask"])


@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_without_a_template_ids_are_those_of_the_text(plain: QwenTokenizer, pairs: dict[str, Any], text: str) -> None:
    theirs = pairs["exported"][1]
    assert [word.id for word in plain.words(text)] == theirs(text)["input_ids"]


@pytest.mark.parametrize(("thinking", "after"), [(True, AFTER), (False, AFTER + NO_THINKING)])
def test_the_template_is_the_text_around_a_prompt(folders: dict[str, Path], thinking: bool, after: str) -> None:
    for name in ("exported", "saved"):
        assert chat_template(folders[name], thinking) == Template(BEFORE, after)


def test_an_encoding_is_template_words_padding(folders: dict[str, Path], plain: QwenTokenizer) -> None:
    ours = QwenTokenizer.load(folders["exported"], LENGTH, Template(BEFORE, AFTER))
    tokens = ours.encode(["", "fox", "fox " * 100])
    assert tokens.ids.dtype == tokens.mask.dtype == np.int64
    assert tokens.ids.shape == tokens.mask.shape == (3, LENGTH)
    empty = tokens.mask[0].sum()
    assert tokens.mask.sum(1).tolist() == [empty, empty + len(ours.words("fox")) - len(ours.words("")), LENGTH]
    assert (tokens.ids[tokens.mask == 0] == ours.pad).all()
    assert tokens.truncated[:2] == ["", ""]
    assert tokens.truncated[2].startswith("fox")
    assert plain.encode(["a"]).ids.shape == (1, 512)  # and not 131072


def test_cut_quotes_the_prompt_alone(folders: dict[str, Path], plain: QwenTokenizer) -> None:
    template = Template(BEFORE, AFTER)
    whole = QwenTokenizer.load(folders["exported"], 100, template)
    text = "the fox E\u0301cole 😀"
    room = len(plain.words(BEFORE)) + len(plain.words("the fox"))
    assert QwenTokenizer.load(folders["exported"], room, template).encode([text]).truncated == ["E\u0301cole 😀"]
    fits = len(whole.words(text)) - 1
    assert QwenTokenizer.load(folders["exported"], fits, template).encode([text]).truncated == [""]


def change(**values: Any) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change(chat_template=None), "has no chat template that can be applied"),
        (change(chat_template="{{ broken"), "has no chat template that can be applied"),
        (change(chat_template="{{ messages[0].content | trim }}"), "has a chat template that changes prompts"),
        (change(chat_template="nothing"), "has a chat template that changes prompts"),
    ],
)
def test_a_template_that_is_not_text_around_a_prompt_is_refused(
    folders: dict[str, Path], tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    for file in folders["exported"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path)
    with pytest.raises(PackageError, match=message) as raised:
        chat_template(tmp_path, thinking=False)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change(padding_side="left"), "has padding_side 'left'; allowed: 'right'"),
        (change(pad_token="<pad>"), "has pad_token '<pad>', which its vocabulary lacks"),
        (lambda folder: (folder / "merges.txt").write_text("a b c\n"), "two symbols on each line, not 'a b c'"),
        (lambda folder: (folder / "vocab.json").unlink(), r"has neither tokenizer\.json nor vocab\.json"),
    ],
)
def test_a_broken_folder_is_one_clear_line(
    folders: dict[str, Path], tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    for file in folders["vocabulary"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path)
    with pytest.raises(PackageError, match=message) as raised:
        QwenTokenizer.load(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_lone_surrogate_is_refused_where_it_is_in_the_prompt(pairs: dict[str, tuple[QwenTokenizer, Any]]) -> None:
    with pytest.raises(ArgumentError, match="not valid Unicode at character 4"):
        pairs["exported"][0].encode(["fox \ud800"])
