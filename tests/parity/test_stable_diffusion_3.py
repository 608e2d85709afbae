"""Stable Diffusion 3 and 3.5 against the diffusers pipelines of those names."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    UniPCMultistepScheduler,
)

from tests.parity.comparison import SEED, check, loaded, references_of, theirs
from tests.support.checkpoints import export_parts, make_checkpoint
from tests.support.images import example_image, mask
from tests.support.packages import linked
from triptych.export import export
from triptych.export.checkpoint import open_checkpoint
from triptych.runtime import TextToImage
from triptych.runtime.cli.inspection import as_text, describe
from triptych.runtime.errors import ArgumentError, PackageError, PromptWarning, SamplerError, SourceError
from triptych.runtime.families.conditioning import POOLED, TEXT
from triptych.runtime.families.family import Family
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.package.package import family_of, open_package

STEPS = 4
MODELS = ("sd3", "sd35", "sd3-t5")
FLOW = {"use_flow_sigmas": True, "flow_shift": 2.0, "prediction_type": "flow_prediction"}
Folders = dict[str, tuple[Path, Path]]
Pipes = dict[str, TextToImage]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Model -> its checkpoint and its package; all have the same CLIPs and the same VAE."""
    folder = tmp_path_factory.mktemp("sd3")
    checkpoints = {model: make_checkpoint(folder / model, model) for model in MODELS}
    whole = export(checkpoints["sd3"], folder / "sd3-package", dialect="cpu")
    packages = {
        model: export_parts(checkpoints[model], whole, folder / f"{model}-package", (part,), dialect="cpu")
        for model, part in (("sd35", "transformer"), ("sd3-t5", "text_encoder_3"))
    }
    return {model: (checkpoints[model], packages.get(model, whole)) for model in MODELS}


@pytest.fixture(scope="module")
def pipes(folders: Folders) -> Pipes:
    return loaded(folders)


@pytest.fixture(scope="module")
def references(folders: Folders) -> dict[str, Any]:
    absent = references_of({model: folders[model] for model in ("sd3", "sd35")}, text_encoder_3=None, tokenizer_3=None)
    return absent | references_of({"sd3-t5": folders["sd3-t5"]})


CALLS: dict[str, tuple[int, dict[str, Any]]] = {
    "plain": (1, {"prompt": "a red fox"}),
    "unguided": (1, {"prompt": "a red fox", "guidance_scale": 1.0, "height": 144, "width": 96}),
    "wide": (2, {"prompt": "two, wide!", "num_images_per_prompt": 2, "height": 128, "width": 192}),
    "batch": (4, {"prompt": ["a cat", "a dog"], "num_images_per_prompt": 2}),
    "negative": (2, {"prompt": ["a cat", "a dog"], "negative_prompt": ["snow", "a red owl"], "guidance_scale": 3.0}),
    "second": (1, {"prompt": "a fox", "prompt_2": "snow", "negative_prompt": "owl", "negative_prompt_2": "grey"}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("model", MODELS)
def test_images_are_those_of_diffusers(pipes: Pipes, references: dict[str, Any], model: str, call: str) -> None:
    count, arguments = CALLS[call]
    if model == "sd3-t5" and call == "second":
        arguments = arguments | {"prompt_3": "a cat in snow", "negative_prompt_3": "a dog"}
    expected = theirs(references[model], count, num_inference_steps=STEPS, **arguments)
    check(pipes[model](**arguments, num_inference_steps=STEPS, seed=SEED), *expected)


def test_defaults_are_those_of_diffusers(pipes: Pipes, references: dict[str, Any]) -> None:
    family, reference = pipes["sd3"].family, references["sd3"]
    defaults = inspect.signature(reference.__call__).parameters
    assert family.guidance_scale == defaults["guidance_scale"].default
    assert family.num_inference_steps == defaults["num_inference_steps"].default
    for pipeline, strength in (
        (StableDiffusion3Img2ImgPipeline, family.strength),
        (StableDiffusion3InpaintPipeline, family.mask_strength),
    ):
        assert inspect.signature(pipeline.__call__).parameters["strength"].default == strength


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        (FlowMatchEulerDiscreteScheduler, {"shift": 1.0}),
        (FlowMatchEulerDiscreteScheduler, {"use_dynamic_shifting": True}),
        (
            FlowMatchEulerDiscreteScheduler,
            {"use_dynamic_shifting": True, "base_shift": 0.2, "time_shift_type": "linear"},
        ),
        (FlowMatchEulerDiscreteScheduler, {"use_karras_sigmas": True}),
        (FlowMatchHeunDiscreteScheduler, {}),
        (UniPCMultistepScheduler, FLOW),
        (DPMSolverMultistepScheduler, FLOW),
        (DPMSolverMultistepScheduler, FLOW | {"use_dynamic_shifting": True}),
    ],
    ids=["shift", "mu", "linear mu", "karras", "heun", "unipc", "dpmpp", "dpmpp mu"],
)
def test_schedulers_of_flow_matching_are_those_of_diffusers(
    pipes: Pipes, references: dict[str, Any], scheduler: Any, options: dict[str, Any]
) -> None:
    reference = references["sd3"]
    own = reference.scheduler
    arguments: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 5, "height": 96, "width": 160}
    reference.scheduler = scheduler.from_config(own.config, **options)
    try:
        expected = theirs(reference, 1, **arguments)
    finally:
        reference.scheduler = own
    given = pipes["sd3"](**arguments, seed=SEED, scheduler=scheduler.__name__, scheduler_options=options)
    check(given, *expected)


IMAGE_CALLS: dict[str, tuple[int, dict[str, Any]]] = {
    "plain": (1, {"prompt": "a red fox", "strength": 0.7}),
    "unguided": (1, {"prompt": "a red fox", "guidance_scale": 1.0, "image": example_image(96, 144)}),
    "wide": (2, {"prompt": "two", "num_images_per_prompt": 2, "image": example_image(192, 128), "strength": 0.5}),
    "batch": (2, {"prompt": ["a cat", "a dog"], "image": [example_image(seed=1), example_image(seed=2)]}),
    "all": (1, {"prompt": "a red fox", "strength": 1.0, "negative_prompt": "an owl"}),
}


@pytest.mark.parametrize("call", IMAGE_CALLS)
@pytest.mark.parametrize("task", ["image to image", "inpainting"])
@pytest.mark.parametrize("model", MODELS)
def test_images_from_images_are_those_of_diffusers(
    pipes: Pipes, references: dict[str, Any], model: str, task: str, call: str
) -> None:
    if model != "sd3" and call not in ("plain", "wide"):
        pytest.skip("of the other models, some of the calls")
    count, arguments = IMAGE_CALLS[call]
    kind = StableDiffusion3Img2ImgPipeline if task == "image to image" else StableDiffusion3InpaintPipeline
    reference = kind(**references[model].components)
    reference.set_progress_bar_config(disable=True)
    asked: dict[str, Any] = {"image": example_image(), "num_inference_steps": 5, **arguments}
    images = asked["image"] if isinstance(asked["image"], list) else [asked["image"]] * count
    expected: dict[str, Any] = asked | {"image": images, "height": images[0].height, "width": images[0].width}
    if task == "inpainting":
        asked |= {"mask_image": mask(*images[0].size)}
        expected |= {"mask_image": [asked["mask_image"]] * count}
        results = _inpainted(reference, count, **expected)
    else:
        results = theirs(reference, count, **expected)
    check(pipes[model](**asked, seed=SEED), *results)


def _inpainted(pipe: Any, count: int, **arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    """Latents and pixels of diffusers, which leaves the shift out where it decodes them for inpainting."""
    generators = [torch.Generator("cpu").manual_seed(SEED + k) for k in range(count)]
    latents = pipe(**arguments, generator=generators, output_type="latent").images
    config = pipe.vae.config
    with torch.no_grad():
        decoded = pipe.vae.decode(latents / config.scaling_factor + config.shift_factor).sample
    pixels = pipe.image_processor.postprocess(decoded, output_type="np")
    return latents.numpy(), (pixels * 255).round()


@pytest.mark.parametrize("options", [{}, {"use_dynamic_shifting": True}], ids=["shift", "mu"])
@pytest.mark.parametrize("start", [{}, {"image": example_image(96, 144), "mask_image": mask(96, 144)}])
def test_the_loop_on_the_device_gives_the_same(
    folders: Folders, pipes: Pipes, options: dict[str, Any], start: dict[str, Any]
) -> None:
    bound = TextToImage.load(folders["sd3"][1], device="cpu")
    bound._bound = True
    asked: dict[str, Any] = {
        "num_inference_steps": 3,
        "seed": 3,
        "num_images_per_prompt": 2,
        "scheduler_options": options,
        **start,
    }
    expected, given = (pipe("a red fox", **asked) for pipe in (pipes["sd3"], bound))
    np.testing.assert_allclose(given.latents, expected.latents, atol=1e-4 * expected.latents.std())


@pytest.mark.parametrize("model", ["sd3", "sd3-t5"])
def test_embeddings_are_those_of_diffusers(pipes: Pipes, references: dict[str, Any], model: str) -> None:
    """Concatenated, padded with zeros to the width of T5, and followed by its tokens, or by zeros."""
    texts = ["a fox", "snow"], ["an owl", "snow"], ["a red cat, " * 20, ""]
    given = pipes[model].encode(*texts)
    expected, _, pooled, _ = references[model].encode_prompt(*texts, do_classifier_free_guidance=False)
    assert expected.shape == (2, 77 + 256, 96)
    np.testing.assert_allclose(given[TEXT], expected.detach().numpy(), atol=1e-4)
    np.testing.assert_allclose(given[POOLED], pooled.detach().numpy(), atol=1e-5)


def test_long_prompts_are_chunks_before_the_zeros(pipes: Pipes) -> None:
    first, second, both = (pipes["sd3"].encode([text])[TEXT] for text in ("a fox", "snow", "a fox BREAK snow"))
    np.testing.assert_array_equal(both, np.concatenate([first[:, :77], second], axis=1))
    out = pipes["sd3"]("a fox BREAK (snow:1.3)", num_inference_steps=2, seed=3)
    assert np.isfinite(out.latents).all()


def test_t5_reads_256_tokens_and_no_more(pipes: Pipes, references: dict[str, Any]) -> None:
    pipe = pipes["sd3-t5"]
    long = "a red fox in the snow, " * 60
    with pytest.warns(PromptWarning, match=r"longer than 256 tokens; left out: '.*snow,'"):
        given = pipe.encode(["a fox"], ["a fox"], [long])[TEXT]
    expected, *_ = references["sd3-t5"].encode_prompt("a fox", "a fox", long, do_classifier_free_guidance=False)
    np.testing.assert_allclose(given, expected.detach().numpy(), atol=1e-4)
    broken, whole = (pipe.encode(["a"], ["a"], [text])[TEXT] for text in ("a cat BREAK snow", "a cat  snow"))
    np.testing.assert_array_equal(broken, whole)  # T5 has one chunk
    assert pipe.text_encoders.chunks_of("a cat BREAK snow") == 2


def test_a_checkpoint_without_t5(folders: Folders, tmp_path: Path) -> None:
    opened = open_checkpoint(folders["sd3-t5"][0], without=["text_encoder_3"])
    assert opened.family == without_t5(folders["sd3"][1])
    assert "text_encoder_3" not in opened.parts
    assert opened.source()["without"] == ["text_encoder_3"]
    with pytest.raises(SourceError, match="sd3 has no text_encoder_3 that can be left out"):
        open_checkpoint(folders["sd3"][0], without=["text_encoder_3"])


def without_t5(package: Path) -> Family:
    family = family_of(open_package(package))
    assert (family.zero_tokens, family.text_encoders) == (256, ("text_encoder", "text_encoder_2"))
    return family


def test_embeddings_of_the_caller(pipes: Pipes) -> None:
    pipe = pipes["sd3"]
    asked: dict[str, Any] = {"num_inference_steps": 2, "seed": 3}
    both = pipe.encode(["a red fox", ""])
    positive, negative = ({name: rows[[k]] for name, rows in both.items()} for k in (0, 1))
    given = pipe("", prompt_embeds=positive, negative_prompt_embeds=negative, **asked)
    np.testing.assert_array_equal(given.latents, pipe("a red fox", **asked).latents)
    short = pipe("a red fox", prompt_embeds=pipe.encode(["a fox BREAK snow"]), **asked)
    assert np.isfinite(short.latents).all()


def test_settings_repeat_the_image(pipes: Pipes, tmp_path: Path) -> None:
    out = pipes["sd3"]("a fox", prompt_2="snow", num_inference_steps=2, seed=5, scheduler="flow_heun")
    out.images[0].save(tmp_path / "p.png")
    again = pipes["sd3"](**read_settings(tmp_path / "p.png").arguments())
    np.testing.assert_array_equal(again.latents, out.latents)


def test_a_package_is_described(folders: Folders) -> None:
    package = open_package(folders["sd3"][1])
    assert package.manifest.component("transformer").operators["com.microsoft::MultiHeadAttention"] == 3
    text = as_text(describe(package))
    assert "StableDiffusion3Pipeline" in text
    assert "pooled_projections" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 136}, "height=136 must be a positive multiple of 16"),
        ({"width": 240}, "width=240; allowed: up to 224, which this model has positions for"),
        ({"scheduler": "ddim"}, "DDIMScheduler is for models of diffusion, and this one is of flow matching"),
        ({"original_size": (64, 64)}, r"original_size=\[64, 64\]: this model does not take it"),
        ({"prompt_3": "b"}, "prompt_3: this package has two text encoders, the first of which reads prompt"),
        ({"image": example_image(8, 128)}, "image is 8x128 pixels; allowed: 16x16 or more"),
    ],
    ids=["height", "width", "scheduler", "original_size", "prompt_3", "image"],
)
def test_what_it_does_not_take_is_refused(pipes: Pipes, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ArgumentError, SamplerError), match=message) as caught:
        pipes["sd3"]("a", num_inference_steps=4, **arguments)
    assert "\n" not in str(caught.value)


def test_encoders_of_another_model_are_refused(folders: Folders, tmp_path: Path) -> None:
    package = linked(folders["sd3"][1], tmp_path / "package")
    (package / "text_encoder").unlink()
    (package / "text_encoder").symlink_to(package / "text_encoder_2")
    with pytest.raises(PackageError, match="embeddings of width 56 but transformer takes 72") as caught:
        TextToImage.load(package, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "message"),
    [("text_encoder_3", r"no text_encoder_3/model\.onnx"), ("tokenizer_3", "tokenizer_3 is missing")],
)
def test_a_missing_part_of_t5_is_named(folders: Folders, tmp_path: Path, part: str, message: str) -> None:
    package = linked(folders["sd3-t5"][1], tmp_path / "package")
    (package / part).unlink()
    with pytest.raises(PackageError, match=message) as caught:
        TextToImage.load(package, device="cpu")
    assert "\n" not in str(caught.value)


def test_what_an_export_does_not_take_is_refused(folders: Folders, tmp_path: Path) -> None:
    checkpoint = folders["sd3"][0]
    with pytest.raises(ArgumentError, match="int8 is made for stable-diffusion, not stable-diffusion-3"):
        export(checkpoint, tmp_path / "package", precision="int8")
    with pytest.raises(SourceError, match="fixed sizes must be multiples of 16 pixels"):
        export(checkpoint, tmp_path / "package", static=(2, 136, 128), dialect="portable")
    (tmp_path / "lora.safetensors").write_bytes(b"")
    with pytest.raises(SourceError, match="sd3 is a stable-diffusion-3; LoRAs are fused into U-Nets alone"):
        export(checkpoint, tmp_path / "package", loras=[(tmp_path / "lora.safetensors", 1.0)])


@pytest.mark.parametrize("bound", [False, True], ids=["on the host", "on the device"])
def test_a_package_without_a_manifest_runs(folders: Folders, pipes: Pipes, tmp_path: Path, bound: bool) -> None:
    """As optimum writes it, with its class."""
    package = linked(folders["sd3-t5"][1], tmp_path / "package", _class_name="ORTStableDiffusion3Pipeline")
    pipe = TextToImage.load(package, device="cpu")
    pipe._bound = bound
    assert {tensor.name for tensor in pipe.model.inputs.values()} >= {"hidden_states", "pooled_projections"}
    asked: dict[str, Any] = {"num_inference_steps": 2, "seed": 3, "num_images_per_prompt": 2}
    expected, given = (each("a red fox", **asked) for each in (pipes["sd3-t5"], pipe))
    np.testing.assert_allclose(given.latents, expected.latents, atol=1e-4 * expected.latents.std())
