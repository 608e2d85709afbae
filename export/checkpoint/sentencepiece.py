"""SentencePiece models, of which the runtime's tokenizers are made."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

from triptych.runtime.errors import PackageError
from triptych.runtime.text.tokenizer_files import FAST

from ..quiet import quiet
from ..scratch import scratch_folder
from ..sources import one_line

MODEL = "spiece.model"


@contextmanager
def with_steps(folder: Path) -> Iterator[Path]:
    """The tokenizer's folder, or a temporary copy with a tokenizer.json where it has T5's SentencePiece model alone.

    Raises:
        PackageError: the model cannot be read.
    """
    if (folder / FAST).exists() or not (folder / MODEL).exists():
        yield folder
        return
    with scratch_folder() as whole:
        copytree(folder, whole, dirs_exist_ok=True)
        _convert(whole)
        yield whole


def _convert(folder: Path) -> None:
    """Write tokenizer.json as transformers converts the model."""
    from transformers import T5TokenizerFast

    try:
        with quiet():
            tokenizer = T5TokenizerFast.from_pretrained(folder)
    except Exception as error:  # of any kind: the file is read by protobuf, and converted by tokenizers
        raise PackageError(f"{folder / MODEL} cannot be read ({type(error).__name__}: {one_line(error)})") from None
    tokenizer.backend_tokenizer.save(str(folder / FAST))
