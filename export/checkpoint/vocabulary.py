"""CLIP's vocabulary, for the tokenizers of single files, which have a configuration alone."""

import gzip
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triptych.runtime.text.clip import BOS, EOS

from ..scratch import scratch_folder

_MERGES = Path(__file__).parents[1] / "configurations" / "clip" / "merges.txt.gz"
_VOCABULARIES = ("tokenizer.json", "vocab.json", "merges.txt")


@contextmanager
def with_vocabulary(folder: Path) -> Iterator[Path]:
    """The tokenizer's folder, or a temporary copy with CLIP's vocabulary where it has none."""
    if not folder.is_dir() or any((folder / name).exists() for name in _VOCABULARIES):
        yield folder
        return
    with scratch_folder() as whole:
        shutil.copytree(folder, whole, dirs_exist_ok=True)
        write_vocabulary(whole)
        yield whole


def write_vocabulary(folder: Path) -> None:
    """Write merges.txt and its vocab.json: the bytes, the bytes that end a word, then the merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    merges = gzip.decompress(_MERGES.read_bytes()).decode()
    symbols = sorted(ByteLevel.alphabet())  # CLIP's order
    pairs = merges.splitlines()[1:]
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *(pair.replace(" ", "") for pair in pairs), BOS, EOS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
