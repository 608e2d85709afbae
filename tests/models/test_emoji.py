"""The demo checkpoint that lies in the repository: its size, what it understands, and every way to run it alike."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from triptych.runtime import TextToImage

MODEL = Path(__file__).parents[2] / "models" / "emoji"
MOST_BYTES = 16 * 2**20  # of all weights together
STEPS, GUIDANCE = 20, 2.5  # what the model card recommends
FP16_DB = 35.0  # PSNR of images made in fp16 against fp32
BACKGROUND_ERROR = 40  # of 255, of the border's median colour
PROMPTS = ("red heart", "strawberry on a blue background", "penguin on a yellow background", "sunflower")


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """dB, of uint8 images."""
    return float(-10 * np.log10(np.mean((first / 255.0 - second / 255.0) ** 2) + 1e-12))


def draw(pipe: TextToImage, prompt: str, seed: int = 5) -> np.ndarray:
    """One image uint8 [64, 64, 3]."""
    return np.asarray(pipe(prompt, num_inference_steps=STEPS, guidance_scale=GUIDANCE, seed=seed).images[0])


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextToImage]:
    """The checkpoint, exported in both precisions and loaded."""
    from triptych.export import export

    folder = tmp_path_factory.mktemp("emoji")
    made = {name: export(str(MODEL), folder / name, precision=name) for name in ("fp32", "fp16")}
    return {name: TextToImage.load(path, device="cpu") for name, path in made.items()}


def test_weights_are_small_and_half_precision() -> None:
    from safetensors import safe_open

    files = list(MODEL.rglob("*.safetensors"))
    assert {path.parent.name for path in files} == {"text_encoder", "unet", "vae"}
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    for path in files:
        with safe_open(path, "np") as weights:
            assert {weights.get_slice(key).get_dtype() for key in weights.keys()} <= {"F16", "I64"}  # noqa: SIM118


def test_the_figures_in_the_model_card_are_those_of_the_evaluation() -> None:
    card = (MODEL / "README.md").read_text()
    assert runpy.run_path(str(MODEL / "train" / "card.py"))["with_table"](card) == card
    figures = json.loads((MODEL / "evaluation" / "checkpoint.json").read_text())
    assert (figures["steps"], figures["guidance"]) == (STEPS, GUIDANCE)


def test_images_equal_those_of_diffusers(packages: dict[str, TextToImage]) -> None:
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(MODEL, low_cpu_mem_usage=False).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    for prompt in PROMPTS[:2]:
        generator = torch.Generator("cpu").manual_seed(5)
        made = pipe(prompt, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generator).images[0]
        difference = np.abs(np.asarray(made).astype(int) - draw(packages["fp32"], prompt))
        assert (difference <= 1).mean() >= 0.999
        assert difference.max() <= 3


@pytest.mark.parametrize("prompt", PROMPTS)
def test_half_precision_gives_the_same_image(packages: dict[str, TextToImage], prompt: str) -> None:
    assert psnr(draw(packages["fp16"], prompt), draw(packages["fp32"], prompt)) >= FP16_DB


@pytest.mark.parametrize(
    ("name", "colour"), [("yellow", (250, 218, 84)), ("blue", (72, 132, 226)), ("black", (28, 28, 32))]
)
def test_the_background_is_the_one_asked_for(packages: dict[str, TextToImage], name: str, colour: tuple) -> None:
    image = draw(packages["fp32"], f"red heart on a {name} background")
    border = np.concatenate([image[:2].reshape(-1, 3), image[-2:].reshape(-1, 3)])
    assert np.abs(np.median(border, axis=0) - colour).max() < BACKGROUND_ERROR


@pytest.mark.parametrize(("prompt", "channel"), [("red heart", 0), ("green heart", 1), ("blue heart", 2)])
def test_hearts_have_the_colour_asked_for(packages: dict[str, TextToImage], prompt: str, channel: int) -> None:
    middle = draw(packages["fp32"], prompt)[24:40, 24:40].reshape(-1, 3).mean(axis=0)
    assert middle.argmax() == channel
    assert middle[channel] > np.delete(middle, channel).max() + 30


def test_seeds_give_different_images(packages: dict[str, TextToImage]) -> None:
    distances = [psnr(draw(packages["fp32"], prompt, 1), draw(packages["fp32"], prompt, 2)) for prompt in PROMPTS]
    assert np.median(distances) < 22
