"""Where weights come from: diffusers folders, the hub, single files of the original layout, LoRAs.

A component of a checkpoint is a `folder.Part`: in a folder of its own, or in a `single_file`. `hub` brings folders
here, `lora` is added to weights that are loaded, `vocabulary` has the vocabulary that single files lack.
"""

from .checkpoint import (
    FULL,
    QUANTIZED,
    TINY,
    Checkpoint,
    open_checkpoint,
    with_loras,
    with_preview_decoder,
    with_vae,
)

__all__ = [
    "FULL",
    "QUANTIZED",
    "TINY",
    "Checkpoint",
    "open_checkpoint",
    "with_loras",
    "with_preview_decoder",
    "with_vae",
]
