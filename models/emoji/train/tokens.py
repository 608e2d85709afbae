"""A small tokenizer in CLIP's format, with byte-pair merges learnt from the captions."""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import RobertaProcessing

VOCABULARY = 1800  # tokens at most
LENGTH = 24  # tokens of a prompt with start and end
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
# How CLIP splits text before the merges (openai/CLIP, simple_tokenizer.py).
PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def _shape(model: models.BPE) -> Tokenizer:
    """CLIP's normalisation, splitting and byte alphabet around a BPE model."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def learn(captions: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn the merges; return the vocabulary in CLIP's order (bytes, bytes at word ends, merges, specials)."""
    learner = _shape(models.BPE(end_of_word_suffix=WORD_END))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 514,  # the trainer does not count all bytes at word ends, nor the specials
        min_frequency=2,
        end_of_word_suffix=WORD_END,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    merges = [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = letters + [letter + WORD_END for letter in letters] + [left + right for left, right in merges]
    return {token: index for index, token in enumerate(dict.fromkeys([*tokens, START, END]))}, merges


def write(captions: list[str], folder: Path) -> None:
    """Write vocab.json, merges.txt, tokenizer.json and the two configurations that CLIPTokenizer reads."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = learn(captions)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")

    model = models.BPE(vocabulary, merges, end_of_word_suffix=WORD_END, unk_token=END)
    tokenizer = _shape(model)
    tokenizer.add_special_tokens([START, END])
    tokenizer.post_processor = RobertaProcessing(
        (END, vocabulary[END]), (START, vocabulary[START]), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.save(str(folder / "tokenizer.json"))

    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "do_lower_case": True,
        "errors": "replace",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config | special, indent=2) + "\n", encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n", encoding="utf-8")
