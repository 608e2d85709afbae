"""Tiny packages for tests of the runtime, written without PyTorch and without the onnx library.

The graphs are not trained and not random: they look values up, and add, multiply, compare and copy them in float32.
No sum in them depends on its order, so every processor gives the same bits. Images depend on the prompt, the seed, the
number of steps, guidance, the size, an initial image and a mask, as those of a real model do.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from triptych.runtime.ort import graph_writer
from triptych.runtime.ort.graph_writer import GraphWriter

Shape = Sequence[int | str]

WIDTH = 4
"""Width of a text encoder's output."""
POSITIONS = 77
"""Tokens that a text encoder reads."""
CHANNELS = 4
"""Channels of the latents."""
FACTOR = 8
"""Pixels to a latent value."""
LATENT_SIDE = 16
"""Latents on a side of an image of the package's own size, 128x128 pixels."""

_FLOAT, _INTEGER = np.dtype(np.float32), np.dtype(np.int64)
_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"
_MERGES = ("r e", "re d</w>", "f o", "fo x</w>", "o w", "ow l</w>", "i n</w>", "a n</w>")
_LEVELS = 32.0  # the decoder's output is rounded to 1/32: a last digit that differs elsewhere changes no pixel
_LOG_VARIANCE = -6.0


@dataclass(frozen=True)
class Kind:
    """Model family of a package.

    Attributes:
        pipeline: `_class_name` of model_index.json.
        encoders: names of the text encoders.
        channels: input channels of the U-Net.
        time_ids: numbers of SDXL's micro-conditioning, 0 for none.
        requires_aesthetics_score: as in model_index.json.
        delay: operators of the U-Net that take time and change nothing.
    """

    pipeline: str
    encoders: tuple[str, ...] = ("text_encoder",)
    channels: int = CHANNELS
    time_ids: int = 0
    requires_aesthetics_score: bool = False
    delay: int = 0


KINDS = {
    "stable-diffusion": Kind("StableDiffusionPipeline"),
    "slow": Kind("StableDiffusionPipeline", delay=1000),
    "inpainting": Kind("StableDiffusionInpaintPipeline", channels=2 * CHANNELS + 1),
    "instruct-pix2pix": Kind("StableDiffusionInstructPix2PixPipeline", channels=2 * CHANNELS),
    "sdxl": Kind("StableDiffusionXLPipeline", encoders=("text_encoder", "text_encoder_2"), time_ids=6),
    "sdxl-refiner": Kind(
        "StableDiffusionXLImg2ImgPipeline", encoders=("text_encoder_2",), time_ids=5, requires_aesthetics_score=True
    ),
}


DEFAULTS: dict[str, Any] = {
    "num_inference_steps": 3,
    "guidance_scale": 2.5,
    "negative_prompt": "owl",
    "width": 64,
    "height": 96,
    "scheduler": "euler",
    "scheduler_options": {"timestep_spacing": "trailing"},
    "example_prompts": ["red fox"],
    "tasks": ["text-to-image"],
    "license": "apache-2.0",
}
"""Defaults that a package may state, every one of them."""


def write(folder: Path, kind: str = "stable-diffusion", defaults: Mapping[str, Any] | None = None) -> Path:
    """Write a package in fp32 with dynamic shapes and a manifest, and return its folder.

    Args:
        folder: a new folder.
        kind: one of `KINDS`.
        defaults: of the manifest; None leaves them out.
    """
    chosen = KINDS[kind]
    pooled = chosen.time_ids > 0
    parts = {name: _text_encoder(seed, xl=pooled) for seed, name in enumerate(chosen.encoders, 1)}
    parts |= {"unet": _unet(chosen), "vae_decoder": _vae_decoder(), "vae_encoder": _vae_encoder()}
    vae = {"_class_name": "AutoencoderKL", "block_out_channels": [4] * 4, "latent_channels": CHANNELS}
    configs: dict[str, dict[str, Any]] = {
        **{name: {"hidden_size": WIDTH, "max_position_embeddings": POSITIONS} for name in chosen.encoders},
        "unet": {"_class_name": "UNet2DConditionModel", "in_channels": chosen.channels, "sample_size": LATENT_SIDE},
        "vae_decoder": {**vae, "scaling_factor": 0.5},
        "vae_encoder": {**vae, "scaling_factor": 0.5},
    }
    for name, graph in parts.items():
        _write_json(folder / name / "config.json", configs[name])
        (folder / name / "model.onnx").write_bytes(graph.to_bytes())
    for name in chosen.encoders:
        _write_tokenizer(folder / name.replace("text_encoder", "tokenizer"))
    _write_json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER)
    _write_json(folder / "model_index.json", _index(chosen))
    stated = {} if defaults is None else {"defaults": defaults}
    _write_json(folder / "triptych.json", _manifest(folder, kind, parts) | stated)
    return folder


class Writer(GraphWriter):
    """A graph writer whose shapes may have named axes; remembers the inputs and outputs for the manifest."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.inputs: list[dict[str, Any]] = []
        self.outputs: list[dict[str, Any]] = []

    def take(self, name: str, dtype: np.dtype, shape: Shape) -> str:
        """Declare an input of the graph, and return its name."""
        self._inputs += graph_writer._message(11, _value(name, dtype, shape))
        self.inputs.append({"name": name, "dtype": dtype.name, "shape": list(shape)})
        return name

    def give(self, value: str, name: str, dtype: np.dtype, shape: Shape) -> None:
        """Declare an output of the graph, equal to `value`."""
        self.node("Identity", value, name=name)
        self._outputs += graph_writer._message(12, _value(name, dtype, shape))
        self.outputs.append({"name": name, "dtype": dtype.name, "shape": list(shape)})

    def floats(self, *values: float, shape: Sequence[int] = ()) -> str:
        """A float32 constant, a scalar by default, and return its name."""
        return self.constant(np.array(values, _FLOAT).reshape(shape))

    def integers(self, *values: int) -> str:
        """An int64 constant of one axis, and return its name."""
        return self.constant(np.array(values, _INTEGER))

    def times(self, value: str, factor: float) -> str:
        """The product with a number."""
        return self.node("Mul", value, self.floats(factor))


def _value(name: str, dtype: np.dtype, shape: Shape) -> bytes:
    """A ValueInfoProto; an axis is a size or a name."""
    message, text, varint = graph_writer._message, graph_writer._text, graph_writer._varint
    dims = b"".join(message(1, text(2, axis) if isinstance(axis, str) else varint(1, axis)) for axis in shape)
    tensor = varint(1, graph_writer.DATA_TYPES[dtype.name]) + message(2, dims)
    return text(1, name) + message(2, message(1, tensor))


def _text_encoder(seed: int, *, xl: bool) -> Writer:
    """Embeddings of tokens plus embeddings of positions; the pooled output is the largest of each column."""
    graph = Writer("text_encoder")
    ids = graph.take("input_ids", _INTEGER, ["batch_size", POSITIONS])
    tokens = graph.node("Gather", graph.constant(_table(len(_vocabulary()), seed)), ids, axis=0)
    states = graph.node("Add", tokens, graph.times(graph.constant(_table(POSITIONS, seed + 100)), 0.25))
    pooled = graph.node("ReduceMax", states, axes=[1], keepdims=0)
    sequence: Shape = ["batch_size", POSITIONS, WIDTH]
    row: Shape = ["batch_size", WIDTH]
    if xl:
        graph.give(states, "hidden_states.1", _FLOAT, sequence)
        graph.give(graph.times(states, 2.0), "hidden_states.2", _FLOAT, sequence)
        graph.give(pooled, "text_embeds", _FLOAT, row)
    else:
        graph.give(states, "last_hidden_state", _FLOAT, sequence)
        graph.give(pooled, "pooler_output", _FLOAT, row)
    return graph


def _unet(kind: Kind) -> Writer:
    """A velocity that leads towards a colour which the text names, and which depends on all other inputs."""
    graph = Writer("unet")
    grid, width = ["height", "width"], WIDTH * len(kind.encoders)
    sample = graph.take("sample", _FLOAT, ["batch_size", kind.channels, *grid])
    timestep = graph.take("timestep", _FLOAT, [])
    states = graph.take("encoder_hidden_states", _FLOAT, ["batch_size", "sequence_length", width])
    latents = graph.node("Gather", sample, graph.integers(*range(CHANNELS)), axis=1)
    around = graph.node("MaxPool", latents, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    terms = [graph.times(latents, 0.5), graph.times(around, 0.25)]
    largest = graph.node("ReduceMax", states, axes=[1], keepdims=0)
    texts = [_columns(graph, largest, start) for start in range(0, width, WIDTH)]
    terms += [graph.times(text, -1.5) for text in texts]
    terms.append(graph.times(graph.node("Mul", latents, texts[0]), 0.125))
    terms.append(graph.node("Mul", timestep, graph.floats(0.0005, 0.001, -0.0005, -0.001, shape=[1, CHANNELS, 1, 1])))
    if kind.channels > CHANNELS:
        extra = graph.node("Gather", sample, graph.integers(*range(kind.channels - CHANNELS, kind.channels)), axis=1)
        terms.append(graph.times(extra, -0.5))
    if kind.channels > 2 * CHANNELS:
        terms.append(graph.times(graph.node("Gather", sample, graph.integers(CHANNELS), axis=1), 0.25))
    if kind.time_ids:
        pooled = graph.take("text_embeds", _FLOAT, ["batch_size", WIDTH])
        terms.append(graph.times(_columns(graph, pooled, 0), -0.5))
        sizes = graph.take("time_ids", _FLOAT, ["batch_size", kind.time_ids])
        powers = graph.floats(*(2.0 ** -(9 + place) for place in range(kind.time_ids)), shape=[1, kind.time_ids])
        total = graph.node("ReduceSum", graph.node("Mul", sizes, powers), graph.integers(1), keepdims=1)
        terms.append(graph.node("Reshape", total, graph.integers(0, 1, 1, 1)))
    idle = around
    for _ in range(kind.delay):
        idle = graph.node("MaxPool", idle, kernel_shape=[9, 9], strides=[1, 1], pads=[4, 4, 4, 4])
    if kind.delay:
        terms.append(graph.times(idle, 0.0))
    velocity = terms[0]
    for term in terms[1:]:
        velocity = graph.node("Add", velocity, term)
    graph.give(velocity, "out_sample", _FLOAT, ["batch_size", CHANNELS, *grid])
    return graph


def _columns(graph: Writer, rows: str, start: int) -> str:
    """Four columns of an array [n, width], from `start` on, as [n, 4, 1, 1]."""
    columns = graph.node("Gather", rows, graph.integers(*range(start, start + CHANNELS)), axis=1)
    return graph.node("Reshape", columns, graph.integers(0, CHANNELS, 1, 1))


def _vae_decoder() -> Writer:
    """Three channels of the latents as colours; each latent is a square of pixels, textured by the fourth channel."""
    graph = Writer("vae_decoder")
    latents = graph.take("latent_sample", _FLOAT, ["batch_size", CHANNELS, "latent_height", "latent_width"])
    around = graph.node("MaxPool", latents, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    smooth = graph.node("Add", latents, graph.times(around, 0.5))
    squares = 3 * FACTOR**2  # channels, which become the pixels of a square
    colours = graph.node("Gather", smooth, graph.integers(*(place % 3 for place in range(squares))), axis=1)
    texture = graph.constant(_table(squares // WIDTH, 200).reshape(1, squares, 1, 1))
    pattern = graph.node("Mul", graph.node("Gather", smooth, graph.integers(3), axis=1), texture)
    mixed = graph.node("Add", graph.times(colours, 0.125), graph.times(pattern, 0.125))
    levels = graph.times(graph.node("Round", graph.times(mixed, _LEVELS)), 1 / _LEVELS)
    pixels = graph.node("DepthToSpace", levels, blocksize=FACTOR)
    graph.give(pixels, "sample", _FLOAT, ["batch_size", 3, "height", "width"])
    return graph


def _vae_encoder() -> Writer:
    """Means and logarithms of variances: the largest value of each square of pixels, and a constant."""
    graph = Writer("vae_encoder")
    pixels = graph.take("sample", _FLOAT, ["batch_size", 3, "height", "width"])
    largest = graph.node("MaxPool", pixels, kernel_shape=[FACTOR, FACTOR], strides=[FACTOR, FACTOR])
    means = graph.times(graph.node("Gather", largest, graph.integers(0, 1, 2, 0), axis=1), 2.0)
    variances = graph.node("Add", graph.times(means, 0.0), graph.floats(_LOG_VARIANCE))
    both = graph.node("Concat", means, variances, axis=1)
    graph.give(both, "latent_parameters", _FLOAT, ["batch_size", 2 * CHANNELS, "latent_height", "latent_width"])
    return graph


def _table(rows: int, seed: int) -> np.ndarray:
    """Float32 [rows, WIDTH] of multiples of 1/32 from -1 to 1, spread by a multiplicative hash."""
    places = np.arange(rows * WIDTH, dtype=np.uint64) + np.uint64(seed * 7919)
    mixed = (places * np.uint64(2654435761)) % np.uint64(2**32) // np.uint64(2**13) % np.uint64(65)
    return (mixed.astype(_FLOAT) / _FLOAT.type(32) - _FLOAT.type(1)).reshape(rows, WIDTH)


def _vocabulary() -> list[str]:
    """The entries of a byte-level CLIP vocabulary in their order: bytes, words of `_MERGES`, start and end of text."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = [chr(byte) for byte in printable] + [chr(256 + number) for number in range(256 - len(printable))]
    merged = [pair.replace(" ", "") for pair in _MERGES]
    return [*symbols, *(symbol + "</w>" for symbol in symbols), *merged, _BOS, _EOS]


def _write_tokenizer(folder: Path) -> None:
    _write_json(folder / "vocab.json", {token: number for number, token in enumerate(_vocabulary())})
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *_MERGES]) + "\n", encoding="utf-8")
    special = {"bos_token": _BOS, "eos_token": _EOS, "unk_token": _EOS, "pad_token": _EOS}
    _write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": POSITIONS, "add_prefix_space": False, **special},
    )


_SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}


def _index(kind: Kind) -> dict[str, Any]:
    index: dict[str, Any] = {"_class_name": kind.pipeline}
    for name in kind.encoders:
        index[name] = ["transformers", "CLIPTextModel"]
        index[name.replace("text_encoder", "tokenizer")] = ["transformers", "CLIPTokenizer"]
    if kind.time_ids:
        index["force_zeros_for_empty_prompt"] = not kind.requires_aesthetics_score
        index["requires_aesthetics_score"] = kind.requires_aesthetics_score
    libraries = {"scheduler": "PNDMScheduler", "unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
    return index | {name: ["diffusers", class_name] for name, class_name in libraries.items()}


def _manifest(folder: Path, kind: str, parts: dict[str, Writer]) -> dict[str, Any]:
    files = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    components = {
        name: {
            "inputs": graph.inputs,
            "outputs": graph.outputs,
            "parameters": 0,
            "files": {place: facts for place, facts in files.items() if place.startswith(f"{name}/")},
        }
        for name, graph in parts.items()
    }
    shared = {place: facts for place, facts in files.items() if place.partition("/")[0] not in parts}
    return {
        "format": 1,
        "family": kind,
        "source": {"name": f"tiny {kind}", "revision": None},
        "precision": "fp32",
        "dialect": "portable",
        "static": None,
        "versions": {},
        "components": components,
        "files": shared,
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
