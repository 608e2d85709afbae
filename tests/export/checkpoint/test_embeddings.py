"""Learned words and clip skip: a package's text encoder gives what diffusers' pipeline gives."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import nn
from transformers import AutoTokenizer

from tests.support.checkpoints import export_parts, make_checkpoint, with_trained_norm
from tests.support.command_line import refused
from triptych.export import export
from triptych.export.checkpoint import open_checkpoint, text_encoders, with_embeddings
from triptych.runtime import TextToImage
from triptych.runtime.cli.inspection import as_text, describe
from triptych.runtime.errors import ArgumentError, SourceError
from triptych.runtime.families.conditioning import TEXT
from triptych.runtime.package.package import open_package
from triptych.runtime.text.clip import ClipTokenizer

TOLERANCE = 1e-5  # absolute, of embeddings of standard deviation 1
WIDTH, LAYERS, VOCABULARY = 44, 3, 650
PROMPTS = ["a <cat> in the woods", "<dog>, <CAT>-like", "my-style", "a <cat> <dog> <cat>", "no learned word", "<cat>_1"]


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.05 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A word of one vector, one of three in half precision, and one of two as the web UI writes it."""
    folder = tmp_path_factory.mktemp("words")
    save_file({"<dog>": vectors(WIDTH)}, folder / "dog.safetensors")
    save_file({"<cat>": vectors(3, WIDTH, seed=1).half()}, folder / "cat.safetensors")
    save_file({"emb_params": vectors(2, WIDTH, seed=2)}, folder / "my-style.safetensors")
    return folder


@pytest.fixture(scope="module")
def trained(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_trained_norm(checkpoint, tmp_path_factory.mktemp("trained") / "checkpoint")


@pytest.fixture(scope="module")
def changed(trained: Path, package: Path, words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with all three words and one layer less."""
    given = [words / f"{name}.safetensors" for name in ("dog", "cat", "my-style")]
    folder = tmp_path_factory.mktemp("changed") / "package"
    return export_parts(trained, package, folder, ["text_encoder"], dialect="portable", embeddings=given, clip_skip=1)


@pytest.fixture(scope="module")
def diffusers_pipe(trained: Path, words: Path) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline.from_pretrained(trained)
    for name, token in (("dog", "<dog>"), ("cat", "<cat>"), ("my-style", "my-style")):
        pipe.load_textual_inversion(words, weight_name=f"{name}.safetensors", token=token)
    # where diffusers' clip_skip looks for the final norm, and transformers 5 no longer has it
    vars(pipe.text_encoder).setdefault("text_model", getattr(pipe.text_encoder, "text_model", pipe.text_encoder))
    return pipe


@torch.no_grad()
@pytest.mark.parametrize("prompt", [prompt for prompt in PROMPTS if "CAT" not in prompt])
def test_embeddings_are_those_of_diffusers(changed: Path, diffusers_pipe: StableDiffusionPipeline, prompt: str) -> None:
    (ours,) = TextToImage.load(changed, device="cpu").encode([prompt])[TEXT]
    theirs, _ = diffusers_pipe.encode_prompt(prompt, "cpu", 1, False, clip_skip=1)
    np.testing.assert_allclose(ours, theirs[0].numpy(), atol=TOLERANCE, rtol=0)
    without, _ = diffusers_pipe.encode_prompt(prompt, "cpu", 1, False)
    assert np.abs(ours - without[0].numpy()).max() > 0.1, "the skipped layer does something"


def test_the_files_of_the_tokenizer_are_read_by_transformers(
    changed: Path, diffusers_pipe: StableDiffusionPipeline
) -> None:
    ours, theirs = ClipTokenizer.load(changed / "tokenizer"), AutoTokenizer.from_pretrained(changed / "tokenizer")
    assert len(theirs) == VOCABULARY + 6
    for prompt in PROMPTS:
        converted = diffusers_pipe.maybe_convert_prompt(prompt.lower(), theirs)
        ids = theirs(converted, padding="max_length", max_length=77).input_ids
        assert ours.encode([prompt]).ids[0].tolist() == ids, "in capitals, too"


def test_tokens_are_added_to_today_s_configuration_too(checkpoint: Path, words: Path, tmp_path: Path) -> None:
    """transformers 4.34 and later write `added_tokens_decoder`, and then read nothing else."""
    copied = Path(shutil.copytree(checkpoint, tmp_path / "copied"))
    file = copied / "tokenizer" / "tokenizer_config.json"
    described = {"content": "<|endoftext|>", "lstrip": False, "normalized": True, "rstrip": False}
    described |= {"single_word": False, "special": True}
    config = json.loads(file.read_text()) | {"added_tokens_decoder": {str(VOCABULARY - 1): described}}
    file.write_text(json.dumps(config))
    opened = text_encoders.with_embeddings(open_checkpoint(copied), [words / "cat.safetensors"])
    text_encoders.write_tokenizer(opened, "text_encoder", tmp_path / "tokenizer")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    ids = [VOCABULARY, VOCABULARY + 1, VOCABULARY + 2]
    assert theirs.convert_tokens_to_ids(["<cat>", "<cat>_1", "<cat>_2"]) == ids
    assert [word.id for word in ClipTokenizer.load(tmp_path / "tokenizer").words("<cat>")] == ids
    assert [word.id for word in text_encoders.tokenizer_of(opened, "text_encoder").words("<cat>")] == ids


def test_the_package_records_the_changes(trained: Path, words: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from triptych.export import exporter

    every = exporter.components_of
    monkeypatch.setattr(exporter, "components_of", lambda opened: {"text_encoder": every(opened)["text_encoder"]})
    given = [f"{words / 'cat.safetensors'}=<tiger>"]
    folder = export(trained, tmp_path / "package", dialect="portable", embeddings=given, clip_skip=LAYERS - 1)
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    assert (config["num_hidden_layers"], config["vocab_size"]) == (1, VOCABULARY + 3)
    manifest = json.loads((folder / "triptych.json").read_text())
    source = manifest["source"]
    assert (source["clip_skip"], source["embeddings"]) == (LAYERS - 1, ["<tiger>"])
    shown = as_text(describe(open_package(folder)))
    assert "learned words: <tiger>" in shown
    assert f"clip skip: {LAYERS - 1}" in shown
    table = (VOCABULARY + 3) * WIDTH
    layer = sum(weight.numel() for name, weight in _weights(trained).items() if "layers.0." in name)
    rest = sum(
        weight.numel() for name, weight in _weights(trained).items() if "layers" not in name and "token" not in name
    )
    assert manifest["components"]["text_encoder"]["parameters"] == table + layer + rest
    assert [word.id for word in ClipTokenizer.load(folder / "tokenizer").words("<tiger>")] == [650, 651, 652]


def _weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(checkpoint / "text_encoder" / "model.safetensors")


def test_two_text_encoders_each_get_their_own_vectors(tmp_path: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    source = make_checkpoint(tmp_path / "sdxl", "sdxl")
    config = open_checkpoint(source).config("text_encoder_2")
    both = {"clip_l": vectors(2, WIDTH), "clip_g": vectors(2, config["hidden_size"], seed=1)}
    save_file(both, tmp_path / "sks.safetensors")
    opened = text_encoders.with_embeddings(open_checkpoint(source), [tmp_path / "sks.safetensors"])
    second = CLIPTextModelWithProjection(CLIPTextConfig(**config))
    assert text_encoders.change_text_encoder(opened, "text_encoder_2", second) == {"vocab_size": VOCABULARY + 2}
    torch.testing.assert_close(second.get_input_embeddings().weight[VOCABULARY:], both["clip_g"])
    text_encoders.write_tokenizer(opened, "text_encoder_2", tmp_path / "written")
    tokens = ClipTokenizer.load(tmp_path / "written").words("a sks, sks_1")
    assert [word.id for word in tokens if word.id >= VOCABULARY] == [650, 651, 651]


def written(**tensors: torch.Tensor) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        save_file(tensors, folder / "word.safetensors")
        return str(folder / "word.safetensors")

    return write


def broken(folder: Path) -> str:
    (folder / "word.safetensors").write_bytes(b"no tensors")
    return str(folder / "word.safetensors")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (written(sks=vectors(48)), "'sks' has vectors of width 48; text_encoder of .* takes 44"),
        (written(e=vectors(WIDTH)), "has a token 'e' already; name another one: FILE=TOKEN"),
        (written(a=vectors(WIDTH), b=vectors(WIDTH)), r"is not an embedding: it holds 2 tensors \(a, b\)"),
        (
            written(clip_l=vectors(WIDTH), clip_g=vectors(48)),
            "has vectors for text_encoder, text_encoder_2; .* has text",
        ),
        (written(sks=vectors(2, 2, WIDTH)), r"is not an embedding: a tensor of shape \[2, 2, 44\]"),
        (written(sks=torch.full((WIDTH,), torch.nan)), "or values that are not finite"),
        (lambda folder: written(sks=vectors(WIDTH))(folder) + "= ", "a token must have letters or signs"),
        (lambda folder: str(folder / "absent.safetensors"), r"absent\.safetensors does not exist"),
        (broken, r"word\.safetensors cannot be read"),
        (
            lambda folder: "word.ckpt",
            "word.ckpt is not an embedding: give a .safetensors, .pt or .bin file, or FILE=TOKEN",
        ),
    ],
)
def test_what_cannot_be_added_is_one_line(
    checkpoint: Path, tmp_path: Path, spoil: Callable[[Path], str], message: str
) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        export(checkpoint, tmp_path / "package", embeddings=[spoil(tmp_path)])
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "package").exists()


def by_the_web_ui(rows: torch.Tensor) -> dict[str, Any]:
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": rows},
        "name": "other",
        "step": 5,
        "sd_checkpoint": None,
    }


def by_gal(rows: torch.Tensor) -> dict[str, Any]:
    """As the first code for learned words saves them."""
    parameters = nn.ParameterDict({"*": nn.Parameter(rows)})
    return {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": parameters}


@pytest.mark.parametrize(
    ("name", "content", "token"),
    [
        ("style.pt", by_the_web_ui, "style"),
        ("style.pt", by_gal, "style"),
        ("learned_embeds.bin", lambda rows: {"<cat>": rows}, "<cat>"),
        ("style.safetensors", lambda rows: {"clip_l": rows}, "style"),
        ("style.safetensors", lambda rows: {"text_encoders_0": rows}, "style"),
    ],
)
def test_every_layout_of_one_text_encoder(
    checkpoint: Path, tmp_path: Path, name: str, content: Callable[[torch.Tensor], dict[str, Any]], token: str
) -> None:
    rows = vectors(3, WIDTH, seed=4)
    (save_file if name.endswith("safetensors") else torch.save)(content(rows), tmp_path / name)
    for given, expected in ((f"{tmp_path / name}", token), (f"{tmp_path / name}=<word>", "<word>")):
        (embedding,) = with_embeddings(open_checkpoint(checkpoint), [given]).embeddings
        assert embedding.token == expected
        torch.testing.assert_close(embedding.vectors["text_encoder"], rows)


def test_layouts_of_two_text_encoders(xl_checkpoint: Path, tmp_path: Path) -> None:
    opened = open_checkpoint(xl_checkpoint)
    widths = [opened.config(name)["hidden_size"] for name in ("text_encoder", "text_encoder_2")]
    for keys in (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1")):
        rows = [vectors(2, width) for width in widths]
        save_file(dict(zip(keys, rows, strict=True)), tmp_path / "pivotal.safetensors")
        (embedding,) = with_embeddings(opened, [tmp_path / "pivotal.safetensors"]).embeddings
        torch.testing.assert_close(embedding.vectors, dict(zip(opened.family.text_encoders, rows, strict=True)))


class Other:
    """Not a tensor."""


def test_a_pickle_of_other_objects_is_not_loaded(checkpoint: Path, tmp_path: Path) -> None:
    torch.save({"<cat>": Other()}, tmp_path / "word.pt")
    with pytest.raises(SourceError, match="holds Python objects other than tensors") as raised:
        with_embeddings(open_checkpoint(checkpoint), [tmp_path / "word.pt"])
    assert "\n" not in str(raised.value)


def test_a_token_is_added_once(checkpoint: Path, words: Path, tmp_path: Path) -> None:
    cat, dog = (str(words / f"{name}.safetensors") for name in ("cat", "dog"))
    for given in ([cat, cat], [cat, f"{dog}=<cat>_2"]):
        with pytest.raises(SourceError, match=r"has a token '<cat>(_2)?' already"):
            export(checkpoint, tmp_path / "package", embeddings=given)


@pytest.mark.parametrize("layers", [LAYERS, -1])
def test_clip_skip_out_of_range(checkpoint: Path, tmp_path: Path, layers: int) -> None:
    with pytest.raises(ArgumentError, match=rf"clip_skip={layers}: .* has 3 layers; allowed: 0 to 2"):
        export(checkpoint, tmp_path / "package", clip_skip=layers)


def test_both_on_the_command_line(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requested = ("export", checkpoint, tmp_path / "package")
    line = refused(*requested, "--embedding", "a.ckpt", capsys=capsys)
    assert line == "error: a.ckpt is not an embedding: give a .safetensors, .pt or .bin file, or FILE=TOKEN"
    assert "--clip-skip 3" in refused(*requested, "--clip-skip", 3, capsys=capsys)
