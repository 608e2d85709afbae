"""An image and a mask give the same result as names of files, paths, Pillow images and arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.images import example_image, mask
from triptych.runtime import TextToImage

FORMS: dict[str, Callable[[Path], Any]] = {
    "name": str,
    "path": lambda path: path,
    "Pillow": Image.open,
    "array": lambda path: np.asarray(Image.open(path)),
    "array of floats": lambda path: np.asarray(Image.open(path)) / np.float32(255),
    "list": lambda path: [path],
}


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    return TextToImage.load(package, device="cpu")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("masked", [False, True], ids=["image", "mask"])
def test_every_form_of_an_image_gives_the_same_result(
    pipe: TextToImage, tmp_path: Path, form: str, masked: bool
) -> None:
    images: dict[str, Any] = {"image": example_image(96, 64)} | ({"mask_image": mask(96, 64)} if masked else {})
    files = {name: tmp_path / f"{name}.png" for name in images}
    for name, image in images.items():
        image.save(files[name])
    arguments: dict[str, Any] = {"num_inference_steps": 3, "seed": 0, "strength": 0.9}
    given = {name: FORMS[form](file) for name, file in files.items()}
    expected = pipe("a fox", **images, **arguments).latents
    np.testing.assert_array_equal(pipe("a fox", **given, **arguments).latents, expected)
