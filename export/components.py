"""The components of a family: each a small module with named inputs and outputs, in the dialect that optimum writes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from triptych.runtime.errors import SourceError

from .checkpoint import TINY, Checkpoint
from .embeddings import change_text_encoder
from .modules import Decoder, Encoder, TextEncoder, UNet

Shape = tuple[int | str, ...]
"""Sizes, and names of axes that may vary. An output's axis may be a name with `* 8` or `// 8` after it."""

Sizes = Mapping[str, int]
"""Name of an axis -> its size."""

Array = np.ndarray
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True)
class Input:
    """`dtype` is "float" (the graph's precision) or "int64"; `draw` makes values of the kind that it gets in use."""

    shape: Shape
    draw: Draw
    dtype: str = "float"


@dataclass(frozen=True)
class Component:
    """One graph to be.

    `module` takes the inputs in their order and returns the outputs in theirs. `reference` is what it must equal: the
    checkpoint's own module, called the way diffusers calls it. `default` gives the size of every axis for one picture
    of the checkpoint's own size; `cases` are the sizes to verify at.
    """

    name: str
    config: Mapping[str, Any]
    module: nn.Module
    reference: Callable[..., tuple[torch.Tensor, ...]]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Shape]
    default: Sizes
    cases: tuple[Sizes, ...]

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """The shape of every input when the axes have these sizes."""
        return {
            name: tuple(sizes[axis] if isinstance(axis, str) else axis for axis in given.shape)
            for name, given in self.inputs.items()
        }

    def zeros(self, sizes: Sizes, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Inputs of the right shapes and types without values, for tracing and counting; `dtype` of the float ones."""
        return {
            name: torch.zeros(shape, dtype=dtype if self.inputs[name].dtype == "float" else torch.int64)
            for name, shape in self.shapes(sizes).items()
        }

    def draw(self, sizes: Sizes, seed: int) -> dict[str, Array]:
        """Random inputs at these sizes, float32 or int64; the same for the same seed on every machine."""
        generator = np.random.default_rng(seed)
        return {name: self.inputs[name].draw(generator, shape) for name, shape in self.shapes(sizes).items()}

    def like(self, sample: Sequence[torch.Tensor], sizes: Sizes) -> dict[str, Array]:
        """Inputs at these sizes out of a sample of other sizes, in the order of the inputs: cut, or repeated."""
        return {
            name: _fitted(given.numpy(), shape)
            for given, (name, shape) in zip(sample, self.shapes(sizes).items(), strict=True)
        }


def components_of(checkpoint: Checkpoint) -> dict[str, Callable[[], Component]]:
    """The components of a checkpoint in the order of the pipeline, each loaded when it is called for."""
    components = {
        "text_encoder": lambda: _text_encoder(checkpoint),
        "unet": lambda: _unet(checkpoint),
        "vae_decoder": lambda: _decoder(checkpoint, "vae_decoder", "vae"),
        "vae_encoder": lambda: _vae_encoder(checkpoint),
    }
    if checkpoint.preview_decoder is not None:
        components["preview_decoder"] = lambda: _decoder(checkpoint, "preview_decoder", "preview_decoder")
    return components


def static_sizes(checkpoint: Checkpoint, component: Component, static: tuple[int, int, int]) -> dict[str, int]:
    """The size of every axis in a graph of fixed shapes; `static` is the U-Net's batch, and height and width in pixels.

    Only the U-Net has that batch (2 is one picture with guidance): texts are encoded and pictures decoded one by one.

    Raises:
        SourceError: height or width is not a multiple of the VAE's factor.
    """
    batch, height, width = static
    factor = vae_factor(checkpoint)
    if batch < 1 or min(height, width) < factor or height % factor or width % factor:
        raise SourceError(f"fixed sizes must be multiples of {factor} pixels, batch at least 1, not {static}")
    sizes = dict(component.default)
    sizes["batch_size"] = batch if component.name == "unet" else 1
    for axis, pixels in (("height", height), ("width", width)):
        for name, size in ((f"sample_{axis}", pixels), (f"latent_{axis}", pixels // factor), (axis, pixels // factor)):
            if name in sizes:
                sizes[name] = size
    return sizes


def own_size(checkpoint: Checkpoint) -> tuple[int, int]:
    """Height and width in pixels of the pictures that the U-Net was trained on."""
    height, width = _own_latents(checkpoint)
    return height * vae_factor(checkpoint), width * vae_factor(checkpoint)


def vae_factor(checkpoint: Checkpoint, vae: str = "vae") -> int:
    """How many pixels of height or width one latent stands for."""
    return int(2 ** (len(checkpoint.config(vae)["block_out_channels"]) - 1))


def _fitted(array: Array, shape: tuple[int, ...]) -> Array:
    places = [np.arange(size) % own for own, size in zip(array.shape, shape, strict=True)]
    return np.asarray(array[np.ix_(*places)])


def _gaussian(scale: float = 1.0) -> Draw:
    return lambda generator, shape: (scale * generator.standard_normal(shape)).astype(np.float32)


def _pixels(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.uniform(-1, 1, shape).astype(np.float32)


def _timestep(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.integers(0, 1000, shape).astype(np.float32)  # whole numbers, which float16 can say, too


def _tokens(start: int, end: int) -> Draw:
    """Sentences of random length: start, words, end of text up to the last place."""

    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        ids = generator.integers(0, start, shape, dtype=np.int64)
        ids[:, 0] = start
        for row in ids:
            row[generator.integers(2, shape[1]) :] = end
        return ids

    return draw


def _text_encoder(checkpoint: Checkpoint) -> Component:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(**checkpoint.config("text_encoder"))
    clip = checkpoint.load("text_encoder", lambda: CLIPTextModel(config))
    changes = change_text_encoder(checkpoint, "text_encoder", clip)
    module = TextEncoder(clip)
    longest, end = config.max_position_embeddings, config.vocab_size - 1
    return Component(
        name="text_encoder",
        config=checkpoint.config("text_encoder") | changes,
        module=module,
        reference=module,
        inputs={"input_ids": Input(("batch_size", "sequence_length"), _tokens(end - 1, end), "int64")},
        outputs={
            "last_hidden_state": ("batch_size", "sequence_length", config.hidden_size),
            "pooler_output": ("batch_size", config.hidden_size),
        },
        default={"batch_size": 1, "sequence_length": longest},
        cases=(
            {"batch_size": 1, "sequence_length": longest},
            {"batch_size": 2, "sequence_length": longest},
            {"batch_size": 3, "sequence_length": longest // 3},
        ),
    )


# Parts of UNet2DConditionModel that other families use and `UNet.forward` leaves out.
_OTHER_FAMILIES = (
    "addition_embed_type",
    "center_input_sample",
    "class_embed_type",
    "encoder_hid_dim_type",
    "num_class_embeds",
    "time_cond_proj_dim",
    "time_embedding_act_fn",
)


def _unet(checkpoint: Checkpoint) -> Component:
    from diffusers import UNet2DConditionModel

    file = checkpoint.config("unet")
    for option in _OTHER_FAMILIES:
        if file.get(option) not in (None, False):
            raise SourceError(f"{checkpoint.name}: a U-Net with {option}={file[option]!r} is not supported")
    net: Any = checkpoint.load("unet", lambda: UNet2DConditionModel.from_config(file))
    config, longest = net.config, _prompt_length(checkpoint)
    height, width = _own_latents(checkpoint)
    return Component(
        name="unet",
        config=file,
        module=UNet(net),
        reference=lambda *inputs: net(*inputs, return_dict=False),
        inputs={
            "sample": Input(("batch_size", config["in_channels"], "height", "width"), _gaussian()),
            "timestep": Input((), _timestep),
            "encoder_hidden_states": Input(
                ("batch_size", "sequence_length", config["cross_attention_dim"]), _gaussian()
            ),
        },
        outputs={"out_sample": ("batch_size", config["out_channels"], "height", "width")},
        default={"batch_size": 1, "height": height, "width": width, "sequence_length": longest},
        cases=(
            {"batch_size": 1, "height": 16, "width": 16, "sequence_length": longest},
            {"batch_size": 2, "height": 16, "width": 24, "sequence_length": longest},
            {"batch_size": 1, "height": 21, "width": 10, "sequence_length": 2 * longest},  # no multiples of 8
        ),
    )


def _vae(checkpoint: Checkpoint, folder: str) -> Any:
    from diffusers import AutoencoderKL, AutoencoderTiny

    config = checkpoint.config(folder)
    kind = AutoencoderTiny if config.get("_class_name") == TINY else AutoencoderKL
    return checkpoint.load(folder, lambda: kind.from_config(config))


def _decoder(checkpoint: Checkpoint, name: str, folder: str) -> Component:
    """The decoder of the autoencoder in a folder of the checkpoint."""
    vae = _vae(checkpoint, folder)
    config, factor = vae.config, vae_factor(checkpoint, folder)
    latents = ("batch_size", config["latent_channels"], "latent_height", "latent_width")
    pictures = ("batch_size", config["out_channels"], f"latent_height * {factor}", f"latent_width * {factor}")
    height, width = _own_latents(checkpoint)
    return Component(
        name=name,
        config=checkpoint.config(folder),
        module=Decoder(vae),
        reference=lambda latents: vae.decode(latents, return_dict=False),
        inputs={"latent_sample": Input(latents, _gaussian(1 / config["scaling_factor"]))},
        outputs={"sample": pictures},
        default={"batch_size": 1, "latent_height": height, "latent_width": width},
        cases=(
            {"batch_size": 1, "latent_height": 16, "latent_width": 16},
            {"batch_size": 2, "latent_height": 16, "latent_width": 24},
            {"batch_size": 1, "latent_height": 21, "latent_width": 10},
        ),
    )


def _vae_encoder(checkpoint: Checkpoint) -> Component:
    vae = _vae(checkpoint, "vae")
    config, factor = vae.config, vae_factor(checkpoint)
    pictures = ("batch_size", config["in_channels"], "sample_height", "sample_width")
    # A tiny encoder gives the latents themselves; the other means and log variances, to draw them from
    tiny = config["_class_name"] == TINY
    output, channels = ("latent_sample", 1) if tiny else ("latent_parameters", 2)
    sides = (f"sample_height // {factor}", f"sample_width // {factor}")
    height, width = _own_latents(checkpoint)

    def encode(pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        encoded = vae.encode(pictures)
        return (encoded.latents if tiny else encoded.latent_dist.parameters,)

    return Component(
        name="vae_encoder",
        config=checkpoint.config("vae"),
        module=Encoder(vae),
        reference=encode,
        inputs={"sample": Input(pictures, _pixels)},
        outputs={output: ("batch_size", channels * config["latent_channels"], *sides)},
        default={"batch_size": 1, "sample_height": height * factor, "sample_width": width * factor},
        cases=(
            {"batch_size": 1, "sample_height": 16 * factor, "sample_width": 16 * factor},
            {"batch_size": 2, "sample_height": 16 * factor, "sample_width": 24 * factor},
            {"batch_size": 1, "sample_height": 21 * factor, "sample_width": 10 * factor},
        ),
    )


def _prompt_length(checkpoint: Checkpoint) -> int:
    return int(checkpoint.config("text_encoder").get("max_position_embeddings", 77))


def _own_latents(checkpoint: Checkpoint) -> tuple[int, int]:
    """Height and width of the latents that the U-Net was trained on."""
    own = checkpoint.config("unet")["sample_size"]
    height, width = own if isinstance(own, list) else (own, own)
    return int(height), int(width)
