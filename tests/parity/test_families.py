"""Stable Diffusion 2, SDXL, Turbo and latent consistency models against the diffusers pipelines of those names."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelImg2ImgPipeline,
    LatentConsistencyModelPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)

from tests.parity.comparison import check, loaded, references_of, theirs
from tests.support.checkpoints import export_parts, make_checkpoint
from tests.support.command_line import refused
from tests.support.dialects import OLIVE_XL, in_dialect
from tests.support.images import example_image, mask
from tests.support.packages import linked
from triptych.export import export, exporter
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import StaticShape, components_of, static_sizes
from triptych.export.graph import to_onnx
from triptych.export.quiet import quiet
from triptych.runtime import TextToImage
from triptych.runtime.cli.inspection import as_text, describe
from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.families.conditioning import GUIDANCE, POOLED, SIZES, TEXT, embedded
from triptych.runtime.families.family import STABLE_DIFFUSION_XL
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.package.package import open_package

STEPS = 4
MODELS = ("sd21", "sdxl", "lcm")


@pytest.fixture(scope="module")
def folders(
    package: Path, xl_checkpoint: Path, xl_package: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Path]]:
    """Model -> its checkpoint and its package; all but SDXL have the autoencoder of `package`."""
    folder = tmp_path_factory.mktemp("families")
    checkpoints = {model: make_checkpoint(folder / model, model) for model in ("sd21", "lcm")}
    packages = {
        model: export_parts(checkpoints[model], package, folder / f"{model}-package", parts, dialect="cpu")
        for model, parts in {"sd21": ("text_encoder", "unet"), "lcm": ("unet",)}.items()
    }
    checkpoints["sdxl"], packages["sdxl"] = xl_checkpoint, xl_package
    return {model: (checkpoints[model], packages[model]) for model in MODELS}


@pytest.fixture(scope="module")
def pipes(folders: dict[str, tuple[Path, Path]]) -> dict[str, TextToImage]:
    return loaded(folders)


@pytest.fixture(scope="module")
def references(folders: dict[str, tuple[Path, Path]]) -> dict[str, Any]:
    return references_of(folders)


CALLS: list[tuple[int, dict[str, Any]]] = [
    (1, {"prompt": "a red fox"}),
    (1, {"prompt": "a red fox", "guidance_scale": 1.0, "height": 136, "width": 104}),
    (2, {"prompt": "two, wide!", "num_images_per_prompt": 2, "height": 128, "width": 192}),
    (4, {"prompt": ["a cat", "a dog"], "num_images_per_prompt": 2}),
]


@pytest.mark.parametrize(("count", "arguments"), CALLS, ids=["plain", "unguided", "wide", "batch"])
@pytest.mark.parametrize("model", MODELS)
def test_every_family_gives_the_images_of_diffusers(
    pipes: dict[str, TextToImage], references: dict[str, Any], model: str, count: int, arguments: dict[str, Any]
) -> None:
    expected = theirs(references[model], count, num_inference_steps=STEPS, **arguments)
    check(pipes[model](**arguments, num_inference_steps=STEPS, seed=123456789012), *expected)


@pytest.mark.parametrize("model", MODELS)
def test_what_is_left_out_is_what_the_pipeline_of_diffusers_takes(
    pipes: dict[str, TextToImage], references: dict[str, Any], model: str
) -> None:
    import inspect

    defaults = inspect.signature(references[model].__call__).parameters
    family = pipes[model].family
    assert family.guidance_scale == defaults["guidance_scale"].default
    assert family.num_inference_steps == defaults["num_inference_steps"].default


@pytest.mark.parametrize(
    ("model", "scheduler", "guidance"),
    [
        ("sd21", EulerDiscreteScheduler, 0.0),
        ("sdxl", EulerAncestralDiscreteScheduler, 0.0),
        ("sdxl", EulerDiscreteScheduler, 0.0),
        ("sdxl", DDIMScheduler, 1.0),
    ],
    ids=["sd-turbo", "sdxl-turbo", "sdxl-lightning", "sdxl-hyper"],
)
@pytest.mark.parametrize("steps", [1, 3])
def test_distilled_models_take_few_trailing_steps_without_guidance(
    folders: dict[str, tuple[Path, Path]],
    references: dict[str, Any],
    tmp_path: Path,
    model: str,
    scheduler: Any,
    guidance: float,
    steps: int,
) -> None:
    reference = references[model]
    turbo = scheduler.from_config(reference.scheduler.config, timestep_spacing="trailing", prediction_type="epsilon")
    asked: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": steps, "guidance_scale": guidance}
    own, reference.scheduler = reference.scheduler, turbo
    try:
        expected = theirs(reference, 1, **asked)
    finally:
        reference.scheduler = own
    config = {**turbo.config, "_class_name": scheduler.__name__}
    pipe = TextToImage.load(linked(folders[model][1], tmp_path / "turbo", scheduler=config), device="cpu")
    check(pipe(**asked, seed=123456789012), *expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt_2": "in the snow"},
        {"negative_prompt": "blurry"},
        {"negative_prompt": "blurry", "negative_prompt_2": "grey", "guidance_scale": 7.5},
        {"negative_prompt": ""},
        {"original_size": (96, 200), "target_size": (64, 72), "crops_coords_top_left": (8, 30)},
    ],
    ids="-".join,
)
def test_sdxl_takes_a_prompt_for_each_encoder_and_sizes(
    pipes: dict[str, TextToImage], references: dict[str, Any], arguments: dict[str, Any]
) -> None:
    asked = {"prompt": "a red fox", "num_inference_steps": STEPS, **arguments}
    check(pipes["sdxl"](**asked, seed=123456789012), *theirs(references["sdxl"], 1, **asked))


def test_embeddings_of_diffusers_take_the_place_of_both_prompts(
    pipes: dict[str, TextToImage], references: dict[str, Any]
) -> None:
    reference, names = references["sdxl"], ("prompt_embeds", "negative_prompt_embeds")
    encoded = reference.encode_prompt("a red fox", negative_prompt="blurry", do_classifier_free_guidance=True)
    both = dict(zip((*names, "pooled_prompt_embeds", "negative_pooled_prompt_embeds"), encoded, strict=True))
    expected = theirs(reference, 1, num_inference_steps=STEPS, **both)
    ours: dict[str, Any] = {
        name: {"encoder_hidden_states": both[name], "text_embeds": both[name.replace("prompt", "pooled_prompt")]}
        for name in names
    }
    check(pipes["sdxl"]("", num_inference_steps=STEPS, seed=123456789012, **ours), *expected)


def test_a_negative_that_is_not_given_is_zeros_where_the_checkpoint_says_so(
    folders: dict[str, tuple[Path, Path]], pipes: dict[str, TextToImage], references: dict[str, Any], tmp_path: Path
) -> None:
    zeros = pipes["sdxl"].text_encoders.encode([None, ("", "")])
    assert not zeros[TEXT][0].any()
    assert not zeros[POOLED][0].any()
    assert zeros[TEXT][1].any()
    said = linked(folders["sdxl"][1], tmp_path / "said", force_zeros_for_empty_prompt=False)
    reference = references["sdxl"]
    reference.register_to_config(force_zeros_for_empty_prompt=False)
    try:
        expected = theirs(reference, 1, prompt="a red fox", num_inference_steps=STEPS)
    finally:
        reference.register_to_config(force_zeros_for_empty_prompt=True)
    pipe = TextToImage.load(said, device="cpu")
    check(pipe("a red fox", num_inference_steps=STEPS, seed=123456789012), *expected)


IMAGE_CASES: list[tuple[int, dict[str, Any]]] = [
    (1, {"prompt": "a red fox", "strength": 0.7}),
    (1, {"prompt": "a red fox", "guidance_scale": 1.0, "image": example_image(104, 136)}),
    (2, {"prompt": "two, wide!", "num_images_per_prompt": 2, "image": example_image(192, 128), "strength": 0.5}),
    (2, {"prompt": ["a cat", "a dog"], "image": [example_image(seed=1), example_image(seed=2)], "strength": 0.6}),
]
TASKS = {
    ("sd21", "image to image"): StableDiffusionImg2ImgPipeline,
    ("sd21", "inpainting"): StableDiffusionInpaintPipeline,
    ("sdxl", "image to image"): StableDiffusionXLImg2ImgPipeline,
    ("sdxl", "inpainting"): StableDiffusionXLInpaintPipeline,
}


@pytest.mark.parametrize(("count", "arguments"), IMAGE_CASES, ids=["plain", "unguided", "wide", "batch"])
@pytest.mark.parametrize(("model", "task"), TASKS)
def test_image_to_image_of_every_family_is_that_of_diffusers(
    pipes: dict[str, TextToImage],
    references: dict[str, Any],
    model: str,
    task: str,
    count: int,
    arguments: dict[str, Any],
) -> None:
    plain = {"add_watermarker": False} if model == "sdxl" else {"requires_safety_checker": False}
    reference = TASKS[model, task](**references[model].components, **plain)
    reference.set_progress_bar_config(disable=True)
    # said, since for inpainting with SDXL diffusers would take another guidance than for all else
    asked: dict[str, Any] = {
        "image": example_image(),
        "num_inference_steps": 6,
        "guidance_scale": pipes[model].family.guidance_scale,
    }
    asked |= arguments
    expected: dict[str, Any] = dict(asked)
    if task == "inpainting":
        images = asked["image"] if isinstance(asked["image"], list) else [asked["image"]] * count
        asked |= {"mask_image": mask(*images[0].size)}
        expected = asked | {"image": images, "mask_image": [asked["mask_image"]] * count}  # see `one_each`
        height, width = images[0].height, images[0].width
        expected |= {"height": height, "width": width}  # which are the model's own where they are left out
    check(pipes[model](**asked, seed=123456789012), *theirs(reference, count, **expected))


@pytest.mark.parametrize(
    ("count", "arguments"),
    [
        (1, {}),
        (2, {"strength": 0.3, "num_images_per_prompt": 2, "image": example_image(136, 104)}),
        (1, {"strength": 1.0, "num_inference_steps": 2, "guidance_scale": 1.0}),
    ],
    ids=["plain", "two", "all of it"],
)
def test_image_to_image_of_latent_consistency_models_is_that_of_diffusers(
    folders: dict[str, tuple[Path, Path]],
    references: dict[str, Any],
    tmp_path: Path,
    count: int,
    arguments: dict[str, Any],
) -> None:
    reference = LatentConsistencyModelImg2ImgPipeline(**references["lcm"].components, requires_safety_checker=False)
    reference.set_progress_bar_config(disable=True)
    name = type(reference).__name__
    pipe = TextToImage.load(linked(folders["lcm"][1], tmp_path / "lcm", _class_name=name), device="cpu")
    asked = {"prompt": "a fox", "image": example_image(), **arguments}
    expected = theirs(reference, count, **asked)
    check(pipe(**asked, seed=123456789012), *expected)
    pipe._bound = True
    check(pipe(**asked, seed=123456789012), *expected)


def test_sdxl_takes_long_prompts_of_two_lengths(pipes: dict[str, TextToImage], references: dict[str, Any]) -> None:
    """Each encoder in chunks, as many of one as of the other; what sums up a text is that of its first chunk."""
    pipe, reference = pipes["sdxl"], references["sdxl"]
    states, summaries = [], []
    for chunks in (("a fox", "snow"), ("", "more snow")):
        embeddings, _, pooled, _ = reference.encode_prompt(chunks[0], chunks[1], "cpu", 1, False)
        states.append(embeddings)
        summaries.append(pooled)
    given = pipe.encode(["a fox"], ["snow BREAK more snow"])
    np.testing.assert_allclose(given[TEXT], torch.cat(states, dim=1).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(given[POOLED], summaries[0].detach().numpy(), atol=1e-5)


def test_sdxl_skips_no_layers(folders: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="clip_skip=1: the last layer of sdxl is left out anyway"):
        export(folders["sdxl"][0], tmp_path / "package", clip_skip=1)


@pytest.mark.parametrize("model", ["sdxl", "lcm"])
def test_the_loop_on_the_device_is_told_the_same(
    folders: dict[str, tuple[Path, Path]], pipes: dict[str, TextToImage], model: str
) -> None:
    bound = TextToImage.load(folders[model][1], device="cpu")
    bound._bound = True
    asked: dict[str, Any] = {"num_inference_steps": 3, "seed": 3, "num_images_per_prompt": 2}
    expected, given = (pipe("a red fox", **asked) for pipe in (pipes[model], bound))
    np.testing.assert_allclose(given.latents, expected.latents, atol=1e-4 * expected.latents.std())


@pytest.mark.parametrize("bound", [False, True])
def test_sdxl_of_olive_runs_unchanged(
    folders: dict[str, tuple[Path, Path]], references: dict[str, Any], tmp_path: Path, bound: bool
) -> None:
    """Its U-Net calls two inputs what the exporter called the nodes that read them."""
    package = in_dialect(folders["sdxl"][1], tmp_path / "olive", OLIVE_XL)
    pipe = TextToImage.load(package, device="cpu")
    pipe._bound = bound
    named = {tensor.name for tensor in pipe._graphs["unet"].inputs.values()}
    assert named == {"sample", "timestep", TEXT, "onnx::Concat_4", "onnx::Shape_5"}
    asked: dict[str, Any] = {
        "prompt": "a red fox",
        "num_images_per_prompt": 2,
        "num_inference_steps": STEPS,
        "height": 136,
    }
    check(pipe(**asked, seed=123456789012), *theirs(references["sdxl"], 2, **asked))


def test_phases_complete_the_conditioning(pipes: dict[str, TextToImage]) -> None:
    from triptych.runtime.noise import noise_source
    from triptych.runtime.sampling import Sampler

    pipe = pipes["sdxl"]
    out = pipe("a red fox", num_inference_steps=2, seed=3, guidance_scale=1.0)
    sampler = Sampler.from_config(pipe.package.scheduler_config(), num_inference_steps=2)
    positive = pipe.encode(["a red fox"])
    assert set(positive) == {TEXT, POOLED}
    *_, last = pipe.denoise(positive, None, noise_source("torch", 3).randn((1, 4, 16, 16)), sampler, 1.0)
    np.testing.assert_array_equal(last.latents, out.latents)


@pytest.mark.parametrize("width", [32, 256, 33])
def test_embedded_guidance_is_that_of_diffusers(width: int) -> None:
    scales = [1.0, 4.5, 8.5, 14.0]
    expected = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, torch.tensor(scales) - 1, width)
    given = np.stack([embedded(scale, width) for scale in scales])
    np.testing.assert_allclose(given, expected.numpy(), atol=2e-3)  # sines of up to 13,000, in float32


def test_settings_repeat_the_image(pipes: dict[str, TextToImage], tmp_path: Path) -> None:
    out = pipes["sdxl"](
        "a fox", prompt_2="snow", num_inference_steps=2, seed=5, original_size=(96, 200), crops_coords_top_left=(0, 8)
    )
    out.images[0].save(tmp_path / "p.png")
    again = pipes["sdxl"](**read_settings(tmp_path / "p.png").arguments())
    np.testing.assert_array_equal(again.latents, out.latents)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("sd21", {"prompt_2": "b"}, "prompt_2: this package has one text encoder, which reads prompt"),
        ("lcm", {"negative_prompt_2": "b"}, "negative_prompt_2: this package has one text encoder"),
        ("sd21", {"original_size": (64, 64)}, r"original_size=\[64, 64\]: this model does not take it; leave it out"),
        ("sdxl", {"target_size": (64, -1)}, r"target_size=\(64, -1\); allowed: two whole numbers of pixels"),
        ("sdxl", {"original_size": 64}, "original_size=64; allowed: two whole numbers"),
        ("sdxl", {"prompt_2": ["a", "b"]}, "prompt_2 has 2 texts for 1 prompts"),
        ("lcm", {"guidance_scale": [1.0, 2.0, 3.0, 4.0]}, "takes its guidance as one number"),
        ("lcm", {"guidance_rescale": 0.5}, "takes its guidance as one number"),
        ("lcm", {"guidance_interval": (0, 3)}, "guidance_interval: this model takes its guidance as a number"),
    ],
    ids=str,
)
def test_what_a_family_does_not_take_is_refused(
    pipes: dict[str, TextToImage], model: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        pipes[model]("a", num_inference_steps=4, **arguments)
    assert "\n" not in str(caught.value)


def test_a_package_that_lacks_what_its_family_takes_is_refused(
    folders: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    wrong = linked(folders["sd21"][1], tmp_path / "wrong", _class_name=STABLE_DIFFUSION_XL.pipelines[0])
    with pytest.raises(PackageError, match=r"no text_encoder_2/model\.onnx"):
        TextToImage.load(wrong, device="cpu")


def test_the_command_line_tells_sizes_and_prompts(
    folders: dict[str, tuple[Path, Path]], pipes: dict[str, TextToImage], tmp_path: Path, capsys: Any
) -> None:
    from tests.support.command_line import run

    package = str(folders["sdxl"][1])
    command = ["generate", package, "a fox", "--prompt-2", "snow", "--negative-2", "grey", "--steps", "2"]
    sizes = ["--original-size", "200x96", "--crop", "8x0", "--target-size", "72x64"]
    run(*command, *sizes, "--seed", "5", "--out", str(tmp_path / "p.png"), capsys=capsys)
    out = pipes["sdxl"](
        "a fox",
        prompt_2="snow",
        negative_prompt_2="grey",
        num_inference_steps=2,
        seed=5,
        original_size=(96, 200),
        crops_coords_top_left=(0, 8),
        target_size=(64, 72),
    )
    settings = read_settings(tmp_path / "p.png")
    np.testing.assert_array_equal(pipes["sdxl"](**settings.arguments()).latents, out.latents)
    assert "give WIDTHxHEIGHT" in refused(*command, "--crop", "8", capsys=capsys)


def test_networks_have_the_inputs_of_their_family(pipes: dict[str, TextToImage]) -> None:
    inputs = {model: set(pipe.model.inputs) - {"sample", "timestep", TEXT} for model, pipe in pipes.items()}
    assert inputs == {"sd21": set(), "sdxl": {POOLED, SIZES}, "lcm": {GUIDANCE}}


def test_float16_of_stable_diffusion_2_keeps_attention_in_float32(
    folders: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    """Its scores pass 65,504; the one that heeds `upcast_attention` in diffusers is not the default one."""
    import onnx

    kinds = {}
    for model in ("sd21", "lcm"):
        opened = open_checkpoint(folders[model][0])
        component = components_of(opened)["unet"]()
        component.module.half()
        with quiet():
            sizes = static_sizes(opened, component, StaticShape(1, 128, 128))
            proto = ir.to_proto(to_onnx(component, torch.float16, sizes))
        inferred = onnx.shape_inference.infer_shapes(proto)
        types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
        kinds[model] = {types[node.input[0]] for node in inferred.graph.node if node.op_type == "Softmax"}
    assert kinds == {"sd21": {onnx.TensorProto.FLOAT}, "lcm": {onnx.TensorProto.FLOAT16}}


def test_an_autoencoder_that_overflows_float16_is_kept_in_float32(
    folders: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    """As SDXL's: every number in the middle of the decoder 100,000 times as large, and the image the same."""
    from safetensors.torch import load_file, save_file

    source = shutil.copytree(folders["lcm"][0], tmp_path / "source")
    file = source / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    # a group normalisation takes the factor out again
    for name in ("weight", "bias"):
        weights[f"decoder.conv_in.{name}"] *= 1e5
    for key in [key for key in weights if key.startswith("decoder.mid_block.") and ".conv2." in key]:
        weights[key] *= 1e5
    save_file(weights, file, metadata={"format": "pt"})
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        every = exporter.components_of
        patch.setattr(exporter, "components_of", lambda opened: {"vae_decoder": every(opened)["vae_decoder"]})
        package = export(source, tmp_path / "package", precision="fp16", dialect="portable", report=lines.append)
    manifest = json.loads((package / "triptych.json").read_text())
    facts = manifest["components"]["vae_decoder"]
    assert {value["dtype"] for value in (*facts["inputs"], *facts["outputs"])} == {"float32"}
    assert any(line.startswith("vae_decoder: kept in fp32, because values reach") for line in lines)
    assert "kept in fp32" in as_text(describe(open_package(package)))


@pytest.mark.parametrize(("model", "factor"), [("sd21", 0.18215), ("sdxl", 0.13025)])
def test_latents_are_scaled_as_the_family_scales_them_where_the_decoder_does_not_say(
    folders: dict[str, tuple[Path, Path]], tmp_path: Path, model: str, factor: float
) -> None:
    """As older exporters left it."""
    folder = linked(folders[model][1], tmp_path / "package")
    decoder = folder / "vae_decoder"
    own = decoder.resolve()
    decoder.unlink()
    decoder.mkdir()
    for entry in own.iterdir():
        if entry.name != "config.json":
            (decoder / entry.name).symlink_to(entry)
    config = json.loads((own / "config.json").read_text())
    (decoder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "scaling_factor"}))
    assert TextToImage.load(folder, device="cpu").model.latents.scaling_factor == factor
