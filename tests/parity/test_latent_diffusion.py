"""The original latent diffusion model against diffusers: same checkpoint, scheduler, seed, fp32, CPU.

Its U-Net and its AutoencoderKL have the weights of `package`'s, which stand in for its own where nothing else is said.
"""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)

from tests.parity.comparison import SEED, check, loaded, references_of
from tests.support.checkpoints import export_parts, make_checkpoint
from tests.support.images import example_image, mask
from tests.support.packages import linked
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError, PromptWarning
from triptych.runtime.families.conditioning import TEXT
from triptych.runtime.image.pixels import read_settings

STEPS = 4
MODELS = ("ldm", "ldm-vq")


@pytest.fixture(scope="module")
def folders(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Model -> its checkpoint and its package: with an AutoencoderKL, and with a book of codes."""
    folder = tmp_path_factory.mktemp("latent-diffusion")
    checkpoints = {model: make_checkpoint(folder / model, model) for model in MODELS}
    packages = {}
    base = package
    for model, parts in {"ldm": ["text_encoder"], "ldm-vq": ["vae_decoder", "vae_encoder"]}.items():
        base = export_parts(checkpoints[model], base, folder / f"{model}-package", parts, dialect="cpu")
        packages[model] = base
    return {model: (checkpoints[model], packages[model]) for model in MODELS}


@pytest.fixture(scope="module")
def pipes(folders: dict[str, tuple[Path, Path]]) -> dict[str, TextToImage]:
    return loaded(folders)


@pytest.fixture(scope="module")
def references(folders: dict[str, tuple[Path, Path]]) -> dict[str, Any]:
    return references_of(folders)


def drawn(reference: Any, count: int, **arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    """Latents and pixels of LDMTextToImagePipeline, which gives no latents: they are seen where they are decoded."""
    vae = reference.vqvae
    seen: list[torch.Tensor] = []
    first = vae.quantize if hasattr(vae, "quantize") else vae.post_quant_conv
    hook = first.register_forward_pre_hook(lambda _, given: seen.append(given[0] * vae.config.scaling_factor))
    generators = [torch.Generator("cpu").manual_seed(SEED + k) for k in range(count)]
    try:
        images = reference(**{"generator": generators, **arguments}, output_type="np").images
    finally:
        hook.remove()
    return seen[0].numpy(), (images * 255).round()


CALLS: list[tuple[int, dict[str, Any], dict[str, Any]]] = [
    (1, {"prompt": "a red fox"}, {}),
    (1, {"prompt": "a red fox", "guidance_scale": 6.0, "height": 136, "width": 104}, {}),
    (2, {"prompt": ["two, wide!"] * 2, "height": 128, "width": 192}, {"prompt": "two, wide!"}),
    (4, {"prompt": ["a cat", "a cat", "a dog", "a dog"], "guidance_scale": 3.0}, {"prompt": ["a cat", "a dog"]}),
]


@pytest.mark.parametrize(("count", "arguments", "own"), CALLS, ids=["plain", "guided", "wide", "batch"])
@pytest.mark.parametrize("model", MODELS)
def test_images_are_those_of_diffusers(
    pipes: dict[str, TextToImage],
    references: dict[str, Any],
    model: str,
    count: int,
    arguments: dict[str, Any],
    own: dict[str, Any],
) -> None:
    expected = drawn(references[model], count, num_inference_steps=STEPS, **arguments)
    asked = {**arguments, **own, "num_images_per_prompt": 2 if own else 1}
    check(pipes[model](**asked, num_inference_steps=STEPS, seed=SEED), *expected)


def test_what_is_left_out_is_what_the_pipeline_of_diffusers_takes(
    pipes: dict[str, TextToImage], references: dict[str, Any]
) -> None:
    defaults, family = inspect.signature(references["ldm"].__call__).parameters, pipes["ldm"].family
    assert family.name == "latent-diffusion"
    assert family.guidance_scale == defaults["guidance_scale"].default
    assert family.num_inference_steps == defaults["num_inference_steps"].default
    assert pipes["ldm"]("a fox", num_inference_steps=1, seed=3).images[0].size == (128, 128)


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
@pytest.mark.parametrize("skip_prk_steps", [True, False])
def test_pndm(
    folders: dict[str, tuple[Path, Path]],
    references: dict[str, Any],
    tmp_path: Path,
    skip_prk_steps: bool,
    guidance_scale: float,
) -> None:
    reference = references["ldm"]
    scheduler = PNDMScheduler.from_config(reference.scheduler.config, skip_prk_steps=skip_prk_steps)
    asked: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 6, "guidance_scale": guidance_scale}
    own, reference.scheduler = reference.scheduler, scheduler
    try:
        expected = drawn(reference, 1, **asked)
    finally:
        reference.scheduler = own
    config = {**scheduler.config, "_class_name": "PNDMScheduler"}
    pipe = TextToImage.load(linked(folders["ldm"][1], tmp_path / "pndm", scheduler=config), device="cpu")
    check(pipe(**asked, seed=SEED), *expected)


def test_lms_is_fed_what_its_scheduler_says(pipes: dict[str, TextToImage], references: dict[str, Any]) -> None:
    """The pipeline of diffusers leaves out the two scalings that LMSDiscreteScheduler asks for: done here by hand."""
    reference = references["ldm"]
    scheduler = LMSDiscreteScheduler.from_config(reference.scheduler.config)
    scheduler.set_timesteps(6)
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(SEED)) * scheduler.init_noise_sigma
    asked: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 6, "guidance_scale": 4.0}
    own, reference.scheduler = reference.scheduler, scheduler
    scale = reference.unet.register_forward_pre_hook(
        lambda _, given: (scheduler.scale_model_input(given[0], given[1]), given[1])
    )
    try:
        expected = drawn(reference, 1, **asked, latents=noise)
    finally:
        scale.remove()
        reference.scheduler = own
    check(pipes["ldm"](**asked, scheduler="LMSDiscreteScheduler", seed=SEED), *expected)


def test_eta_adds_noise_as_in_diffusers(pipes: dict[str, TextToImage], references: dict[str, Any]) -> None:
    """There, noise within the loop comes from PyTorch's global generator alone."""
    asked: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": STEPS, "eta": 0.3}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        expected = drawn(references["ldm"], 1, **asked, generator=None)
    check(pipes["ldm"](**asked, seed=SEED), *expected)


def test_options_of_the_first_version_of_diffusers_change_nothing(
    folders: dict[str, tuple[Path, Path]], pipes: dict[str, TextToImage], tmp_path: Path
) -> None:
    """The published checkpoint was written by version 0.0.4."""
    published = {
        "_class_name": "DDIMScheduler",
        "_diffusers_version": "0.0.4",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "tensor_format": "pt",
        "timestep_values": None,
        "trained_betas": None,
    }
    pipe = TextToImage.load(linked(folders["ldm"][1], tmp_path / "old", scheduler=published), device="cpu")
    given, expected = (each("a fox", num_inference_steps=2, seed=5) for each in (pipe, pipes["ldm"]))
    np.testing.assert_array_equal(given.latents, expected.latents)


@pytest.mark.parametrize("ending", ["", " BREAK a den"])
def test_what_does_not_fit_is_left_out_and_quoted(
    pipes: dict[str, TextToImage], references: dict[str, Any], ending: str
) -> None:
    """No chunks: the model was trained on one text of 77 tokens, and its pipeline cuts there."""
    fits = "a " * 75 if not ending else "a fox"
    reference = references["ldm"]
    tokens = reference.tokenizer([fits], padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        expected = reference.bert(tokens.input_ids)[0].numpy()
    with pytest.warns(PromptWarning, match="longer than 77 tokens; left out: 'a den'"):
        given = pipes["ldm"].encode([fits + (ending or "a den")])
    np.testing.assert_allclose(given[TEXT], expected, atol=1e-5)


def test_weights_scale_what_the_encoder_says_of_a_word(pipes: dict[str, TextToImage]) -> None:
    pipe = pipes["ldm"]
    plain, weighted = (pipe.encode([prompt])[TEXT][0] for prompt in ("a fox", "a (fox:1.5)"))
    words = [word.id for word in pipe.text_encoders.tokenizers["text_encoder"].words("a fox")]
    scaled = plain * np.where(np.isin(np.arange(77), np.arange(2, len(words) + 1)), 1.5, 1)[:, None]
    np.testing.assert_allclose(weighted, scaled * plain.mean() / scaled.mean(), rtol=1e-4, atol=1e-5)


def test_a_negative_prompt_takes_the_place_of_the_empty_one(pipes: dict[str, TextToImage]) -> None:
    pipe = pipes["ldm"]
    asked: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 4.0, "seed": 3}
    empty, blank, other = (pipe("a fox", negative_prompt=text, **asked).latents for text in ("", None, "blurry"))
    np.testing.assert_array_equal(empty, blank)
    assert np.abs(other - empty).max() > 0.01


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_image_to_image_is_that_of_diffusers(
    folders: dict[str, tuple[Path, Path]], references: dict[str, Any], tmp_path: Path, model: str, with_mask: bool
) -> None:
    """As the pipelines of Stable Diffusion do it, which take its parts and what its text encoder says.

    They mend a scheduler's configuration, so that it is one which needs no mending; and what they ask of a decoder,
    a VQModel does not take: it is called here.
    """
    own = references[model]
    scheduler = DDIMScheduler.from_config(own.scheduler.config, steps_offset=1)
    kind = StableDiffusionInpaintPipeline if with_mask else StableDiffusionImg2ImgPipeline
    names = ("text_encoder", "tokenizer", "safety_checker", "feature_extractor")
    parts = {"vae": own.vqvae, "unet": own.unet, "scheduler": scheduler, **dict.fromkeys(names)}
    reference = kind(**parts, requires_safety_checker=False)
    reference.set_progress_bar_config(disable=True)
    ids = own.tokenizer(["a fox", ""], padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.inference_mode():
        positive, negative = own.bert(ids)[0].chunk(2)
    given: dict[str, Any] = {"image": example_image(), "num_inference_steps": 6, "strength": 0.7, "guidance_scale": 4.0}
    if with_mask:
        given["mask_image"] = mask()
    asked = {**given, "generator": [torch.Generator().manual_seed(SEED)], "output_type": "latent"}
    latents = reference(**asked, prompt_embeds=positive, negative_prompt_embeds=negative).images
    with torch.inference_mode():
        pixels = own.vqvae.decode(latents / own.vqvae.config.scaling_factor).sample
    expected = latents.numpy(), ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
    config = {**scheduler.config, "_class_name": "DDIMScheduler"}
    pipe = TextToImage.load(linked(folders[model][1], tmp_path / "package", scheduler=config), device="cpu")
    check(pipe("a fox", **given, seed=SEED), *expected)


def test_the_loop_on_the_device_gives_the_same(
    folders: dict[str, tuple[Path, Path]], pipes: dict[str, TextToImage]
) -> None:
    bound = TextToImage.load(folders["ldm"][1], device="cpu")
    bound._bound = True
    asked: dict[str, Any] = {"num_inference_steps": 3, "seed": 3, "num_images_per_prompt": 2, "guidance_scale": 3.0}
    expected, given = (pipe("a red fox", **asked) for pipe in (pipes["ldm"], bound))
    np.testing.assert_allclose(given.latents, expected.latents, atol=1e-4 * expected.latents.std())


def test_settings_repeat_the_image(pipes: dict[str, TextToImage], tmp_path: Path) -> None:
    out = pipes["ldm"]("a fox", num_inference_steps=2, seed=5)
    out.images[0].save(tmp_path / "p.png")
    settings = read_settings(tmp_path / "p.png")
    assert settings.guidance_scale == 1.0
    np.testing.assert_array_equal(pipes["ldm"](**settings.arguments()).latents, out.latents)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_2": "b"}, "prompt_2: this package has one text encoder, which reads prompt"),
        ({"negative_prompt_2": "b"}, "negative_prompt_2: this package has one text encoder"),
        ({"original_size": (64, 64)}, r"original_size=\[64, 64\]: this model does not take it; leave it out"),
        ({"height": 100}, "height=100 must be a positive multiple of 8"),
    ],
    ids=str,
)
def test_what_it_does_not_take_is_refused(
    pipes: dict[str, TextToImage], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        pipes["ldm"]("a", num_inference_steps=2, **arguments)
    assert "\n" not in str(caught.value)


def test_the_package_names_its_components_as_other_packages_do(folders: dict[str, tuple[Path, Path]]) -> None:
    checkpoint, package = folders["ldm-vq"]
    index, written = (json.loads((folder / "model_index.json").read_text()) for folder in (checkpoint, package))
    assert written["_class_name"] == index["_class_name"] == "LDMTextToImagePipeline"
    assert written["text_encoder"] == index["bert"] == ["latent_diffusion", "LDMBertModel"]
    assert written["vae"] == index["vqvae"] == ["diffusers", "VQModel"]
    assert not {"bert", "vqvae"} & written.keys()
