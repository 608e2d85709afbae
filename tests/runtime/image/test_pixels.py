import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.settings import SETTINGS
from triptych.runtime.errors import ArgumentError
from triptych.runtime.image.pixels import contact_sheet, read_settings, to_image, to_pixels
from triptych.runtime.image.settings import Settings

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def test_pixels_are_rounded_and_clipped_as_diffusers_does() -> None:
    import torch
    from diffusers.image_processor import VaeImageProcessor

    decoded = np.random.default_rng(1).normal(0, 0.8, (2, 3, 5, 7)).astype(np.float32)
    theirs = VaeImageProcessor().postprocess(torch.from_numpy(decoded), output_type="pil")
    np.testing.assert_array_equal(to_pixels(decoded), np.stack([np.asarray(image) for image in theirs]))


def test_settings_travel_in_the_png(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    image = to_image(PIXELS, SETTINGS)
    image.save(path)
    assert read_settings(path) == SETTINGS
    np.testing.assert_array_equal(np.asarray(Image.open(path)), PIXELS)
    image.save(path)  # saving twice must not lose them
    assert read_settings(path) == SETTINGS


@given(prompt=st.text(st.characters(codec="utf-8")), seed=st.none() | st.integers(0, 2**64 - 1))
def test_any_prompt_survives_the_json(prompt: str, seed: int | None) -> None:
    settings = dataclasses.replace(SETTINGS, prompt=prompt, seed=seed)
    assert Settings.from_json(settings.to_json()) == settings


def test_the_parameters_text_reads_as_other_tools_write_it() -> None:
    *prompt, negative, last = SETTINGS.to_parameters().splitlines()
    assert "\n".join(prompt) == SETTINGS.prompt
    assert negative == "Negative prompt: blurry"
    assert last.startswith("Steps: 20, Sampler: DDIMScheduler, CFG scale: 7.5, Seed: 18446744073709551615, Size: 24x16")


def test_an_image_of_latents_cannot_be_reproduced() -> None:
    with pytest.raises(ArgumentError, match="generated from latents or embeddings"):
        dataclasses.replace(SETTINGS, seed=None).arguments()


def test_images_without_settings_are_refused(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ArgumentError, match="has no settings"):
        read_settings(tmp_path / "plain.png")
    with pytest.raises(ArgumentError, match="cannot be read as an image"):
        read_settings(tmp_path / "text.png")
    with pytest.raises(ArgumentError, match="does not exist"):
        read_settings(tmp_path / "absent.png")


@pytest.mark.parametrize("text", ["{}", "[1]", "nonsense", '{"prompt": "x", "colour": 3}'])
def test_foreign_settings_are_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="settings in the image cannot be read"):
        Settings.from_json(text)


def test_a_contact_sheet_holds_every_image_once() -> None:
    images = [Image.new("RGB", (30, 20), (10 * k, 0, 255)) for k in range(1, 7)]
    sheet = contact_sheet(
        images, 3, row_labels=["a prompt", "another " * 30], column_labels=["seed 0", "seed 1", "seed 2"]
    )
    colours: dict[Any, int] = {colour: count for count, colour in sheet.getcolors(100_000) or ()}
    assert all(colours[image.getpixel((0, 0))] == 30 * 20 for image in images)
