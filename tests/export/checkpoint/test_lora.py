"""LoRAs in the weights: equal to diffusers' and peft's fusion; what does not fit is named."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from tests.support.command_line import refused, run
from triptych.export import export, exporter
from triptych.export.checkpoint import Checkpoint, open_checkpoint, with_loras
from triptych.export.files import sha256_of
from triptych.runtime.cli.values import weighted
from triptych.runtime.errors import SourceError, TriptychWarning

RANK, CONV_RANK, ALPHA = 4, 3, 2.5
WEIGHT, OTHER_WEIGHT = 0.7, -0.4
LEAST_CHANGE = 1e-3  # of the weights that a LoRA is for: what is not fused would equal itself

Tensors = dict[str, torch.Tensor]
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


@pytest.fixture(scope="module")
def modules(checkpoint: Path) -> dict[str, nn.Module]:
    """The checkpoint's own, by component."""
    return {name: loaded(open_checkpoint(checkpoint), name) for name in ("text_encoder", "unet")}


def loaded(checkpoint: Checkpoint, component: str) -> nn.Module:
    if component == "unet":
        return checkpoint.load("unet", lambda: UNet2DConditionModel.from_config(checkpoint.config("unet")))
    return checkpoint.load("text_encoder", lambda: CLIPTextModel(CLIPTextConfig(**checkpoint.config("text_encoder"))))


def layers(modules: dict[str, nn.Module]) -> Iterator[tuple[str, str, nn.Module]]:
    """Component, name and module of linear and convolution layers in attention, feed-forward and residual blocks."""
    for name, module in modules["unet"].named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and "blocks" in name:
            yield "unet", name, module
    for name, module in modules["text_encoder"].named_modules():
        if name.endswith(TEXT_LAYERS):
            yield "text_encoder", f"text_model.{name.removeprefix('text_model.')}", module


def weight_of(module: nn.Module) -> torch.Tensor:
    assert isinstance(module.weight, torch.Tensor)
    return module.weight


def halves(module: nn.Module, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random down and up weights for a layer."""
    out, into, *kernel = weight_of(module).shape
    return torch.randn(rank, into, *kernel) * 0.1, torch.randn(out, rank, *[1] * len(kernel)) * 0.1


def kohya(modules: dict[str, nn.Module], alpha: Callable[[nn.Module], float]) -> Tensors:
    """A file of kohya's trainer for linear layers, and convolutions in another rank."""
    tensors: Tensors = {}
    for component, name, module in layers(modules):
        down, up = halves(module, CONV_RANK if isinstance(module, nn.Conv2d) else RANK)
        stem = f"lora_{'te' if component == 'text_encoder' else 'unet'}_{name.replace('.', '_')}"
        tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
        tensors[f"{stem}.alpha"] = torch.tensor(alpha(module))
    return tensors


def early(modules: dict[str, nn.Module]) -> Tensors:
    """A file of diffusers before peft: attention layers alone, by the processor's names, without alpha."""
    text = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
    tensors = {}
    for component, name, module in layers(modules):
        head, _, last = name.removesuffix(".0").rpartition(".")
        if component == "unet" and head.endswith(("attn1", "attn2")):
            stem = f"unet.{head}.processor.{last}_lora"
        elif component == "text_encoder" and last in text:
            stem = f"text_encoder.{head}.{text[last]}_lora"
        else:
            continue
        tensors[f"{stem}.down.weight"], tensors[f"{stem}.up.weight"] = halves(module, RANK)
    return tensors


def by_peft(checkpoint: Path, folder: Path) -> Path:
    """A LoRA as diffusers saves its own today, with its configuration in the file."""
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint)
    targets = ["to_q", "to_out.0", "conv1"]
    configs = {
        "unet": LoraConfig(r=RANK, lora_alpha=6, target_modules=targets, alpha_pattern={"mid_block.*to_q": 7}),
        "text_encoder": LoraConfig(r=RANK, lora_alpha=6, target_modules=["q_proj", "fc1"], use_rslora=True),
    }
    states = {}
    for name, config in configs.items():
        module = getattr(pipe, name)
        module.add_adapter(config)
        for key, parameter in module.named_parameters():
            if ".lora_" in key:
                nn.init.normal_(parameter, std=0.1)
        states[name] = get_peft_model_state_dict(module)
    pipe.save_lora_weights(
        folder,
        unet_lora_layers=states["unet"],
        text_encoder_lora_layers=states["text_encoder"],
        unet_lora_adapter_metadata=configs["unet"].to_dict(),
        text_encoder_lora_adapter_metadata=configs["text_encoder"].to_dict(),
    )
    return folder


def fused_by_diffusers(checkpoint: Path, loras: list[tuple[Path, float]]) -> dict[str, Tensors]:
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint)
    for source, weight in loras:
        file = source if source.is_file() else source / "pytorch_lora_weights.safetensors"
        pipe.load_lora_weights(file.parent, weight_name=file.name)
        pipe.fuse_lora(lora_scale=weight)
        pipe.unload_lora_weights()
    return {"unet": pipe.unet.state_dict(), "text_encoder": pipe.text_encoder.state_dict()}


def save(tensors: Tensors, file: Path, **metadata: str) -> Path:
    save_file(tensors, file, metadata)
    return file


def check(checkpoint: Path, modules: dict[str, nn.Module], loras: list[tuple[Path, float]]) -> None:
    """The weights are diffusers', and others than before."""
    opened = with_loras(open_checkpoint(checkpoint), loras)
    for component, expected in fused_by_diffusers(checkpoint, loras).items():
        ours = loaded(opened, component).state_dict()
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)
        before = modules[component].state_dict()
        assert max(float((ours[key] - before[key]).abs().max()) for key in before) > LEAST_CHANGE


def test_kohya_s_layout(checkpoint: Path, modules: dict[str, nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    check(checkpoint, modules, [(save(kohya(modules, lambda _: ALPHA), tmp_path / "k.safetensors"), WEIGHT)])


def test_diffusers_early_layout(checkpoint: Path, modules: dict[str, nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    check(checkpoint, modules, [(save(early(modules), tmp_path / "e.safetensors"), WEIGHT)])


def test_diffusers_own_with_its_configuration_in_a_folder(
    checkpoint: Path, modules: dict[str, nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    check(checkpoint, modules, [(by_peft(checkpoint, tmp_path / "adapter"), WEIGHT)])


def test_several_add_up(checkpoint: Path, modules: dict[str, nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = save(kohya(modules, lambda _: ALPHA), tmp_path / "a.safetensors")
    check(checkpoint, modules, [(first, WEIGHT), (save(early(modules), tmp_path / "b.safetensors"), OTHER_WEIGHT)])


def test_each_layer_has_its_own_alpha_and_rank(checkpoint: Path, modules: dict[str, nn.Module], tmp_path: Path) -> None:
    """Against the formula: where alphas differ, diffusers 0.42 misses those of attention layers and of texts."""
    torch.manual_seed(0)
    tensors = kohya(modules, lambda module: 1.0 + weight_of(module).shape[0] % 5)
    opened = with_loras(open_checkpoint(checkpoint), [(save(tensors, tmp_path / "k.safetensors"), WEIGHT)])
    fused = {name: dict(loaded(opened, name).named_modules()) for name in modules}
    compared = 0
    for component, name, module in layers(modules):
        stem = f"lora_{'te' if component == 'text_encoder' else 'unet'}_{name.replace('.', '_')}"
        down, up, alpha = (tensors[f"{stem}.{part}"] for part in ("lora_down.weight", "lora_up.weight", "alpha"))
        delta = torch.einsum("or...,ri->oi", up.flatten(1), down.flatten(1)).view_as(weight_of(module))
        found = fused[component].get(name) or fused[component][name.removeprefix("text_model.")]
        expected = weight_of(module) + WEIGHT * alpha / len(down) * delta
        torch.testing.assert_close(found.weight.data, expected, rtol=1e-5, atol=1e-6)
        compared += 1
    assert compared > 50


def test_layers_in_the_original_s_names(checkpoint: Path, modules: dict[str, nn.Module], tmp_path: Path) -> None:
    """As kohya's trainer names those of SDXL: blocks by the number that the original release gives them."""
    torch.manual_seed(0)
    target = modules["unet"].get_submodule("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q")
    down, up = halves(target, RANK)
    stem = "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q"
    tensors = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(ALPHA)}
    opened = with_loras(open_checkpoint(checkpoint), [(save(tensors, tmp_path / "s.safetensors"), 1.0)])
    fused = loaded(opened, "unet").get_submodule("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q")
    torch.testing.assert_close(fused.weight, weight_of(target) + ALPHA / RANK * up @ down)


def test_the_file_of_the_checkpoint_is_left_as_it_was(
    checkpoint: Path, modules: dict[str, nn.Module], tmp_path: Path
) -> None:
    files = [checkpoint / "unet" / "diffusion_pytorch_model.safetensors"]
    before = [sha256_of(file) for file in files]
    lora = save(kohya(modules, lambda _: ALPHA), tmp_path / "k.safetensors")
    loaded(with_loras(open_checkpoint(checkpoint), [(lora, 1.0)]), "unet")
    assert [sha256_of(file) for file in files] == before


def test_it_is_recorded_and_shown(
    checkpoint: Path,
    modules: dict[str, nn.Module],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    every = exporter.components_of
    monkeypatch.setattr(exporter, "components_of", lambda opened: {"text_encoder": every(opened)["text_encoder"]})
    lora = save(kohya(modules, lambda _: ALPHA), tmp_path / "style.safetensors")
    exported = tmp_path / "package"
    status, _, err = run("export", checkpoint, exported, "--lora", f"{lora}:0.5", "--lora", lora, capsys=capsys)
    assert status == 0, err
    recorded = json.loads((exported / "triptych.json").read_text())["source"]["loras"]
    plain = {"name": "style.safetensors", "sha256": sha256_of(lora)}
    assert recorded == [{**plain, "weight": 0.5}, {**plain, "weight": 1.0}]
    _, shown, _ = run("inspect", exported, capsys=capsys)
    assert "loras: style.safetensors at 0.5, style.safetensors at 1\n" in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.safetensors", ("a.safetensors", 1.0)),
        ("a.safetensors:0.8", ("a.safetensors", 0.8)),
        ("owner/name:-.5", ("owner/name", -0.5)),
        (r"C:\loras\a.safetensors", (r"C:\loras\a.safetensors", 1.0)),
        (r"C:\loras\a.safetensors:1e-1", (r"C:\loras\a.safetensors", 0.1)),
        ("style: 2.safetensors", ("style: 2.safetensors", 1.0)),
        ("a:nan", ("a:nan", 1.0)),
        ("0.5", ("0.5", 1.0)),
    ],
)
def test_the_weight_is_what_follows_the_last_colon(text: str, expected: tuple[str, float]) -> None:
    assert weighted(text) == expected


K = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"conv_in.weight": (2, 2)}, "is not a LoRA: none of its 1 tensors is named as one"),
        ({f"{K}.hada_w1_a": (2, 2)}, "holds lora_unet_.*hada_w1_a: only plain LoRAs are supported"),
        ({f"{K}.lora_down.weight": (2, 56), f"{K}.dora_scale": (1, 56)}, "holds .*dora_scale: only plain LoRAs"),
        ({f"{K}.lora_down.weight": (2, 56)}, r"cannot be read as a LoRA, by diffusers \(KeyError"),
        ({"unet.mid_block.x.lora_A.weight": (2, 56)}, "lacks one of the two halves of unet.mid_block.x"),
        ({"unet.mid_block.x.lora_B.weight": (2, 56)}, "lacks one of the two halves of unet.mid_block.x"),
        ({f"{K}.lora_up.weight": (2, 56), "x.alpha": ()}, "holds lora_unet_.*, which is in no layout of LoRAs"),
        (
            {"transformer.x.lora_A.weight": (2, 9), "transformer.x.lora_B.weight": (9, 2)},
            r"is a LoRA for another family: this checkpoint has no transformer \(x\)",
        ),
        (
            {"lora_te2_text_projection.lora_down.weight": (2, 9), "lora_te2_text_projection.lora_up.weight": (9, 2)},
            "is a LoRA for another family: this checkpoint has no text_encoder_2",
        ),
    ],
)
def test_what_is_no_lora_for_the_checkpoint_is_refused_at_once(
    checkpoint: Path, tmp_path: Path, shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    lora = save({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "bad.safetensors")
    with pytest.raises(SourceError, match=message) as error:
        with_loras(open_checkpoint(checkpoint), [(lora, 1.0)])
    assert "bad.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "down", "up", "message"),
    [
        (K, (2, 56), (57, 2), r"where mid_block\.\S+\.to_q is \[56, 56\], and not \[57, 2\] x \[2, 56\]"),
        (K, (2, 640), (56, 2), r"where mid_block\.\S+\.to_q is \[56, 56\], and not \[56, 2\] x \[2, 640\]"),
        (K, (2, 56), (56, 3), r"where mid_block\.\S+\.to_q is"),
        (K.replace("blocks_0", "blocks_9"), (2, 56), (56, 2), r"has no layer mid_block\.\S+\.9\.attn1\.to_q"),
    ],
)
def test_layers_that_do_not_fit_are_named(
    checkpoint: Path, tmp_path: Path, name: str, down: tuple[int, int], up: tuple[int, int], message: str
) -> None:
    tensors = {f"{name}.lora_down.weight": torch.zeros(down), f"{name}.lora_up.weight": torch.zeros(up)}
    lora = save(tensors, tmp_path / "bad.safetensors", ss_base_model_version="sdxl_base_v1-0")
    opened = with_loras(open_checkpoint(checkpoint), [(lora, 1.0)])
    with pytest.raises(SourceError, match=message) as error:
        loaded(opened, "unet")
    assert "the LoRA bad.safetensors does not fit this checkpoint's unet" in str(error.value)
    assert str(error.value).endswith("(it was trained on sdxl_base_v1-0)")


def test_places_without_a_lora(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "style.safetensors"
    line = refused("export", checkpoint, tmp_path / "package", "--lora", f"{missing}:0.5", capsys=capsys)
    assert f"the LoRA {missing} is neither a file, a folder nor a hub id" in line
    for name in "ab":
        save({"x": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(SourceError, match=r"not one \.safetensors file but a\.safetensors, b\.safetensors; name the"):
        with_loras(open_checkpoint(checkpoint), [(tmp_path, 1.0)])
    (tmp_path / "b.safetensors").write_bytes(b"no weights")
    with pytest.raises(SourceError, match=r"b\.safetensors cannot be read"):
        export(checkpoint, tmp_path / "package", loras=[(tmp_path / "b.safetensors", 1.0)])
    assert not (tmp_path / "package").exists()
    assert load_file(tmp_path / "a.safetensors").keys() == {"x"}


Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TEXT_Q = "text_model.encoder.layers.0.self_attn.q_proj"


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt"])
@pytest.mark.parametrize(
    ("component", "down", "up"),
    [
        ("unet", f"{Q}.lora_A.weight", f"{Q}.lora_B.weight"),
        ("unet", f"unet.{Q}.lora_A.default_0.weight", f"unet.{Q}.lora_B.default_0.weight"),
        ("unet", f"base_model.model.{Q}.lora_A.weight", f"base_model.model.{Q}.lora_B.weight"),
        *(
            ("unet", f"{prefix}{head}.processor.to_q_lora.down.weight", f"{prefix}{head}.processor.to_q_lora.up.weight")
            for prefix in ("", "unet.")
            for head in [Q.removesuffix(".to_q")]
        ),
        ("text_encoder", f"base_model.model.{TEXT_Q}.lora_A.weight", f"base_model.model.{TEXT_Q}.lora_B.weight"),
    ],
)
def test_every_layout_of_names_is_read(
    checkpoint: Path, modules: dict[str, nn.Module], tmp_path: Path, suffix: str, component: str, down: str, up: str
) -> None:
    named = dict(modules[component].named_modules())
    module = named[Q] if component == "unet" else named.get(TEXT_Q) or named[TEXT_Q.removeprefix("text_model.")]
    factors = halves(module, RANK)
    file = tmp_path / f"lora{suffix}"
    tensors = dict(zip((down, up), factors, strict=True))
    save_file(tensors, file) if suffix == ".safetensors" else torch.save(tensors, file)
    fused = loaded(with_loras(open_checkpoint(checkpoint), [(file, 1.0)]), component)
    changed = {
        name: weight - modules[component].state_dict()[name]
        for name, weight in fused.state_dict().items()
        if not torch.equal(weight, modules[component].state_dict()[name])
    }
    assert [name.removeprefix("text_model.").endswith("q.weight") or "q_proj" in name for name in changed] == [True]
    torch.testing.assert_close(next(iter(changed.values())), factors[1] @ factors[0])


def test_the_scale_is_that_of_the_configuration_beside_a_file_of_peft(checkpoint: Path, tmp_path: Path) -> None:
    names = [f"base_model.model.{Q}.lora_{half}.weight" for half in "AB"]
    save(dict(zip(names, (torch.ones(4, 24), torch.ones(24, 4)), strict=True)), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 10, "alpha_pattern": None}))
    (lora,) = with_loras(open_checkpoint(checkpoint), [(tmp_path, 1.0)]).loras
    assert lora.layers["unet"][Q].scale == 2.5


def test_bundled_words_are_left_out_with_a_warning(checkpoint: Path, tmp_path: Path) -> None:
    tensors = {f"{Q}.lora_A.weight": torch.ones(4, 24), f"{Q}.lora_B.weight": torch.ones(24, 4)}
    words = {f"bundle_emb.{word}.string_to_param.*": torch.ones(2, 44) for word in ("fox", "owl")}
    file = save(tensors | words, tmp_path / "bundle.safetensors")
    with pytest.warns(TriptychWarning, match=r"bundles learned words, which are left out: fox, owl"):
        (lora,) = with_loras(open_checkpoint(checkpoint), [(file, 1.0)]).loras
    assert lora.layers["unet"].keys() == {Q}
