"""Altered LoRAs and learned words, as `triptych export` reads them."""

import io
import json
import struct
from pathlib import Path
from random import Random

import numpy as np

from ..alter import altered_bytes, altered_json
from ..attempt import Case
from ..inputs import Inputs

_LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


def case(inputs: Inputs, random: Random) -> Case:
    """A LoRA or a learned word with one change of its header, its names or its bytes."""
    lora = random.random() < 0.6
    header, data = _lora() if lora else _word()
    way = random.random()
    if way < 0.6:
        text, name = altered_json(header, random)
        content = _file(text.encode("utf-8", "surrogatepass"), data)
    else:
        content, name = altered_bytes(_file(json.dumps(header).encode(), data), random)
    suffix = random.choice((".safetensors",) * 6 + (".bin", ".pt"))

    def run() -> None:
        from triptych.export.checkpoint import open_checkpoint, with_embeddings, with_loras

        file = Path(f"adapter{suffix}")
        file.write_bytes(content)
        assert inputs.checkpoint is not None
        checkpoint = open_checkpoint(inputs.checkpoint)
        if lora:
            with_loras(checkpoint, [(file, 1.0)])
        else:
            with_embeddings(checkpoint, [str(file)])

    return Case(f"{'LoRA' if lora else 'word'}{suffix}: {name}", run)


def _lora() -> tuple[dict[str, object], bytes]:
    down, up = np.ones((4, 24), np.float32), np.ones((24, 4), np.float32)
    names = (f"{_LAYER}.lora_down.weight", f"{_LAYER}.lora_up.weight", f"{_LAYER}.alpha")
    return _tensors(dict(zip(names, (down, up, np.full((), 2, np.float32)), strict=True)))


def _word() -> tuple[dict[str, object], bytes]:
    return _tensors({"<cat-toy>": np.ones((2, 44), np.float32)})


def _tensors(arrays: dict[str, np.ndarray]) -> tuple[dict[str, object], bytes]:
    """Header and data of a .safetensors file."""
    header: dict[str, object] = {"__metadata__": {"ss_base_model_version": "sd_v1", "lora_adapter_metadata": "{}"}}
    data = io.BytesIO()
    for name, array in arrays.items():
        start = data.tell()
        data.write(np.asarray(array).tobytes())
        shape = list(np.shape(array))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, data.tell()]}
    return header, data.getvalue()


def _file(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data
