"""Arithmetic bound of a case: its MACs, and the rate of a large matrix product."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from triptych.runtime.ort.device import open_device

from ..matmul import measure_matrix_product
from .figures import Case

GUIDED = 2


def macs_of(case: Case, checkpoint: str) -> int | None:
    """Multiply-accumulates of a case, with attention; None without PyTorch, which counts them."""
    size = case.size
    if case.what != "picture":
        one = _count(checkpoint, case.what, size.height, size.width)
        rows = size.batch * (GUIDED if case.what == "unet" else 1)
        return None if one is None else one * rows
    assert case.steps is not None
    counts = [_count(checkpoint, name, size.height, size.width) for name in ("text_encoder", "unet", "vae_decoder")]
    if None in counts:
        return None
    text, unet, decoder = (count or 0 for count in counts)
    return GUIDED * text + size.batch * (GUIDED * case.steps * unet + decoder)


def product_rate(threads: int) -> float:
    """FLOP/s of a large fp32 matrix product on that many threads, through ONNX Runtime."""
    device = open_device("cpu", session_options={"intra_op_num_threads": threads})
    return measure_matrix_product(device, np.dtype(np.float32)).flops_per_second


@functools.cache
def _count(checkpoint: str, component: str, height: int, width: int) -> int | None:
    """MACs of one row. Nothing is loaded or computed: the module is built without weights, on the meta device."""
    try:
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode
    except ImportError:
        return None
    with torch.device("meta"), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        call = _call(Path(checkpoint), component, height, width)
        with FlopCounterMode(display=False) as counter:
            call()
    return int(counter.get_total_flops() // 2)


def _call(checkpoint: Path, component: str, height: int, width: int) -> Any:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    text = CLIPTextConfig.from_pretrained(checkpoint, subfolder="text_encoder")
    if component == "text_encoder":
        ids = torch.zeros(1, text.max_position_embeddings, dtype=torch.int64)
        return functools.partial(CLIPTextModel(text).eval(), ids)
    vae_config = AutoencoderKL.load_config(checkpoint, subfolder="vae")
    factor = 2 ** (len(vae_config["block_out_channels"]) - 1)
    latents = torch.zeros(1, vae_config["latent_channels"], height // factor, width // factor)
    if component == "vae_decoder":
        return functools.partial(AutoencoderKL.from_config(vae_config).decode, latents)
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(checkpoint, subfolder="unet"))
    states = torch.zeros(1, text.max_position_embeddings, text.hidden_size)
    return functools.partial(unet, latents, torch.zeros(()), states)
