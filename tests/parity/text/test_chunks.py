"""Weights and chunks: embeddings are those of the web UI's algorithm in PyTorch, images those of diffusers."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.checkpoints import export_parts, with_trained_norm
from tests.support.command_line import run
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError, PromptWarning
from triptych.runtime.families.conditioning import TEXT
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.ort.session import Graph
from triptych.runtime.text.chunks import batched, chunked, weighted
from triptych.runtime.text.clip import ClipTokenizer

TOLERANCE = 1e-5  # absolute, of embeddings of standard deviation 1
LATENTS_TOLERANCE = 1e-3  # absolute, final latents
LENGTH, ROOM = 77, 75
LONG = "a very long walk in the dark woods, " * 4  # more than one chunk
WEIGHTED = f"a (red:1.4) [fox], {LONG} (end:0.3) BREAK ((the den))"
MEANT = [
    [("a ", 1.0), ("red", 1.4), (" ", 1.0), ("fox", 1 / 1.1), (f", {LONG} ", 1.0), ("end", 0.3)],
    [("the den", 1.21)],
]
CHUNKS = 3  # of WEIGHTED


@pytest.fixture(scope="module")
def trained(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_trained_norm(checkpoint, tmp_path_factory.mktemp("trained") / "checkpoint")


@pytest.fixture(scope="module")
def folder(trained: Path, package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_parts(
        trained, package, tmp_path_factory.mktemp("exported") / "package", ["text_encoder"], dialect="portable"
    )


@pytest.fixture(scope="module")
def pipe(folder: Path) -> TextToImage:
    return TextToImage.load(folder, device="cpu")


@pytest.fixture(scope="module")
def diffusers_pipe(trained: Path) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline.from_pretrained(trained)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def tokenizer(trained: Path) -> ClipTokenizer:
    return ClipTokenizer.load(trained / "tokenizer")


def web_ui(pipe: StableDiffusionPipeline, chunks: Sequence[Sequence[tuple[str, float]]], count: int) -> torch.Tensor:
    """The conditioning [1, tokens, width] of `count` chunks, as in modules/sd_hijack_clip.py and sd_emphasis.py.

    Without the web UI's option to move what follows a comma to the next chunk.
    """
    bos, eos = pipe.tokenizer.bos_token_id, pipe.tokenizer.eos_token_id
    parts = []
    for fragments in chunks:
        tokens = [
            (token, weight)
            for text, weight in fragments
            for token in pipe.tokenizer(text, add_special_tokens=False).input_ids
        ]
        parts += [tokens[start : start + ROOM] for start in range(0, len(tokens), ROOM)] or [[]]
    parts += [[]] * (count - len(parts))
    done = []
    for part in parts:
        padding = ROOM - len(part)
        ids = [bos, *(token for token, _ in part), *[eos] * (padding + 1)]
        multipliers = torch.tensor([1.0, *(weight for _, weight in part), *[1.0] * (padding + 1)])
        with torch.no_grad():
            z = pipe.text_encoder(torch.tensor([ids])).last_hidden_state
        original_mean = z.mean()
        z = z * multipliers[None, :, None]
        done.append(z * (original_mean / z.mean()))
    return torch.cat(done, dim=1)


PLAIN = st.text(st.characters(exclude_characters="()[]\\", exclude_categories=["Cs"]), max_size=200).filter(
    lambda text: "BREAK" not in text
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(PLAIN, st.sampled_from([":)", "(", ":(", ")", "[", LONG])), max_size=3))
def test_plain_prompts_have_the_ids_they_always_had(tokenizer: ClipTokenizer, texts: list[str]) -> None:
    texts = [text for text in texts if "(" not in text or len(text) < 3]
    assume(texts)
    chunks, before = batched(tokenizer, texts, max_chunks=1), tokenizer.encode(texts)
    assert chunks.ids.dtype == before.ids.dtype
    assert chunks.ids[:, 0].tolist() == before.ids.tolist()
    assert list(chunks.truncated) == before.truncated
    assert (chunks.weights == 1).all()


@settings(max_examples=100, deadline=None)
@given(PLAIN, st.integers(1, 9))
def test_no_token_is_lost_between_chunks(tokenizer: ClipTokenizer, text: str, times: int) -> None:
    text = " ".join([text] * times)
    chunks = chunked(tokenizer, text)
    words = [word.id for word in tokenizer.words(text)]
    assert chunks.truncated == ("",)
    assert chunks.ids.shape == chunks.weights.shape == (max(1, -(-len(words) // ROOM)), LENGTH)
    assert chunks.ids[:, 1:-1].ravel().tolist() == words + [tokenizer.pad] * (chunks.ids[:, 1:-1].size - len(words))
    assert (chunks.ids[:, 0] == tokenizer.start).all()
    assert (chunks.ids[:, -1] == tokenizer.end).all()


def test_weights_stand_at_their_tokens(tokenizer: ClipTokenizer) -> None:
    chunks = chunked(tokenizer, "a (red fox:1.5) BREAK [b]")
    red_fox = len(tokenizer.words("red fox"))
    assert chunks.weights.dtype == np.float32
    expected = np.ones((2, LENGTH), np.float32)
    expected[0, 2 : 2 + red_fox] = 1.5
    expected[1, 1] = 1 / 1.1
    np.testing.assert_array_equal(chunks.weights, expected)


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("", 1), ("BREAK", 1), ("a BREAK", 1), ("BREAK a", 2), ("a BREAK BREAK b", 3), ("a " * 75, 1), ("a " * 76, 2)],
)
def test_how_many_chunks(tokenizer: ClipTokenizer, prompt: str, count: int) -> None:
    assert chunked(tokenizer, prompt).ids.shape == (count, LENGTH)


def test_what_does_not_fit_is_quoted_without_its_syntax(tokenizer: ClipTokenizer) -> None:
    prompt = "a " * 74 + "(b c:1.2), [d] BREAK e "
    assert chunked(tokenizer, prompt, max_chunks=1).truncated == ("c, d  e",)
    assert chunked(tokenizer, prompt, max_chunks=2).truncated == ("e",)
    assert chunked(tokenizer, prompt, max_chunks=1).ids.shape == (1, LENGTH)


def test_several_prompts_are_filled_with_empty_chunks(tokenizer: ClipTokenizer) -> None:
    chunks = batched(tokenizer, ["a BREAK (b)", "c"])
    assert chunks.ids.shape == chunks.weights.shape == (2, 2, LENGTH)
    np.testing.assert_array_equal(chunks.ids[1, 1:], chunked(tokenizer, "").ids)
    assert (chunks.weights[1] == 1).all()


def test_embeddings_are_the_web_uis(pipe: TextToImage, diffusers_pipe: StableDiffusionPipeline) -> None:
    ours = pipe.encode([WEIGHTED, "a (fox:0.5)"])[TEXT]
    assert ours.shape == (2, CHUNKS * LENGTH, 44)
    assert ours.dtype == np.float32
    for own, meant in zip(ours, [MEANT, [[("a ", 1.0), ("fox", 0.5)]]], strict=True):
        np.testing.assert_allclose(own, web_ui(diffusers_pipe, meant, CHUNKS)[0], atol=TOLERANCE, rtol=0)


def test_without_weights_nothing_changes(pipe: TextToImage, tokenizer: ClipTokenizer) -> None:
    texts = ["a red fox :)", "(", "(a red fox:1)"]
    ids = tokenizer.encode(["a red fox :)", "(", "a red fox"]).ids
    before = pipe._graphs["text_encoder"]({"input_ids": ids})["last_hidden_state"]
    np.testing.assert_array_equal(pipe.encode(texts)[TEXT], before)


def test_only_weighted_chunks_are_touched() -> None:
    embeddings = np.random.default_rng(0).normal(0.5, 1, (2, 3, 5, 7)).astype(np.float32)
    weights = np.ones((2, 3, 5), np.float32)
    assert weighted(embeddings, weights) is embeddings
    weights[1, 2, 3] = 1.5
    after = weighted(embeddings, weights)
    touched = (after != embeddings).any((-2, -1))
    assert touched.tolist() == [[False] * 3, [False, False, True]]
    assert after[1, 2].mean() == pytest.approx(embeddings[1, 2].mean(), rel=1e-5)


@pytest.mark.parametrize(("positive", "negative"), [(WEIGHTED, "blurry"), ("a fox", "grey (end:1.3) BREAK (bad)")])
def test_long_and_weighted_images_are_those_of_diffusers(
    pipe: TextToImage, diffusers_pipe: StableDiffusionPipeline, positive: str, negative: str
) -> None:
    meant = {
        **{WEIGHTED: MEANT, "a fox": [[("a fox", 1.0)]], "blurry": [[("blurry", 1.0)]]},
        "grey (end:1.3) BREAK (bad)": [[("grey ", 1.0), ("end", 1.3)], [("bad", 1.1)]],
    }
    count = CHUNKS if positive == WEIGHTED else 2
    theirs = diffusers_pipe(
        prompt_embeds=web_ui(diffusers_pipe, meant[positive], count),
        negative_prompt_embeds=web_ui(diffusers_pipe, meant[negative], count),
        num_inference_steps=4,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="latent",
    ).images
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = pipe(positive, negative_prompt=negative, num_inference_steps=4, seed=7)
    np.testing.assert_allclose(ours.latents, theirs.numpy(), atol=LATENTS_TOLERANCE, rtol=0)


def test_the_bound_loop_takes_long_prompts(pipe: TextToImage, folder: Path) -> None:
    bound = TextToImage.load(folder, device="cpu")
    bound._bound = True
    asked: dict[str, Any] = {"negative_prompt": "grey BREAK bad", "num_inference_steps": 3, "seed": 3}
    for prompt in (WEIGHTED, "a fox", WEIGHTED):  # buffers of another length in between
        theirs, ours = (each(prompt, **asked).latents for each in (pipe, bound))
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * theirs.std())


def test_a_package_of_fixed_shapes_says_what_it_leaves_out(static_package: Path, tokenizer: ClipTokenizer) -> None:
    pipe = TextToImage.load(static_package, device="cpu")
    with pytest.warns(PromptWarning, match=r"longer than 77 tokens; left out: 'the end'"):
        assert pipe.encode(["a " * 75 + "(the end:1.3)"])[TEXT].shape == (1, LENGTH, 44)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe.encode(["a " * 75])


@pytest.mark.parametrize(
    ("texts", "calls"), [(["a fox", "grey"], 1), (["a fox"] * 2, 1), (["a fox"], 1), (["a fox", "a den", "grey"], 2)]
)
def test_a_package_of_fixed_shapes_takes_both_texts_of_an_image_at_once(
    static_package: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str], calls: int
) -> None:
    encoders = TextToImage.load(static_package, device="cpu").text_encoders
    alone = [encoders.encode([(text,)])[TEXT][0] for text in texts]
    rows, original = [], Graph._run

    def counting(graph: Graph, arrays: Any, batch: int, **options: Any) -> dict[str, np.ndarray]:
        rows.append(batch)
        return original(graph, arrays, batch, **options)

    monkeypatch.setattr(Graph, "_run", counting)
    together = encoders.encode([(text,) for text in texts])[TEXT]
    assert rows == [2] * calls
    np.testing.assert_allclose(together, alone, atol=1e-2)  # float16


def test_an_image_is_repeated_from_its_prompt_as_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = r"a (red:1.3) fox \(vixen\) BREAK [den] :)"
    options = ("--steps", 2, "--device", "cpu")
    status, out, _ = run("generate", folder, prompt, *options, "--out", tmp_path / "a.png", capsys=capsys)
    assert status == 0
    written = Path(out.strip())
    assert read_settings(written).prompt == prompt
    again = ("--from-image", written, "--device", "cpu", "--out", tmp_path / "b.png")
    assert run("generate", folder, *again, capsys=capsys)[0] == 0
    assert (tmp_path / "b.png").read_bytes() == written.read_bytes()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("weight", ["9" * 400, "9" * 39])
def test_weights_that_are_too_large_are_one_line(pipe: TextToImage, weight: str) -> None:
    with pytest.raises(ArgumentError, match=r"the weights of the prompt, 1 to .*, give embeddings that are not finite"):
        pipe.encode([f"a (fox:{weight})"])


def test_conditionings_of_two_lengths_are_refused(pipe: TextToImage) -> None:
    long, short = pipe.encode(["a BREAK b"]), pipe.encode(["c"])
    noise, sampler = np.zeros((1, 4, 16, 16), np.float32), object()
    with pytest.raises(ArgumentError, match="154 tokens and 77 of the negative; encode both in one call"):
        pipe.denoise(long, short, noise, sampler)  # type: ignore[arg-type]
    both = pipe.encode(["c", "a BREAK b"])[TEXT]
    np.testing.assert_array_equal(both[0], np.concatenate([short[TEXT][0], pipe.encode([""])[TEXT][0]]))
    np.testing.assert_array_equal(both[1], long[TEXT][0])
