"""Images to start from, as people have them, on the command line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import refused, run
from tests.support.images import example_image, mask
from triptych.runtime import TextToImage


def test_a_photo_and_a_mask_with_alpha(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, out = tmp_path / "phone.jpg", tmp_path / "out.png"
    exif = Image.Exif()
    exif[0x112] = 6  # orientation: to be turned to the right
    example_image(96, 64).save(photo, exif=exif)
    mask(64, 96).convert("RGBA").save(tmp_path / "mask.png")
    command = ["generate", package, "a fox", "--steps", 2, "--seed", 1, "--out", out]
    assert run(*command, "--image", photo, "--mask", tmp_path / "mask.png", capsys=capsys)[0] == 0
    pipe = TextToImage.load(package, device="cpu")
    expected = pipe("a fox", num_inference_steps=2, seed=1, image=photo, mask_image=mask(64, 96)).images[0]
    with Image.open(out) as written:
        assert written.size == (64, 96)
        np.testing.assert_array_equal(np.asarray(written), np.asarray(expected))


@pytest.mark.parametrize("option", ["--image", "--mask"])
def test_a_damaged_image_is_one_line(
    option: str, package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cut-off.jpg"
    example_image().save(file)
    file.write_bytes(file.read_bytes()[:-500])
    line = refused("generate", package, "a fox", option, file, capsys=capsys)
    assert f"{file} cannot be read as an image: image file is truncated" in line
