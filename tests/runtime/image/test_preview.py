"""Previews by the colours of latents in the manifest."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.runtime import TextToImage
from triptych.runtime.errors import PackageError
from triptych.runtime.image.preview import has_previews

ARGUMENTS: dict[str, Any] = {"num_inference_steps": 2, "seed": 0, "scheduler": "ddim", "height": 64, "width": 96}
RED = {"red": [0, 0, 0, 0, 1], "green": [0, 0, 0, 0, -1], "blue": [1, 0, 0, 0, 0]}


def with_colours(package: Path, copy: Path, colours: Any) -> TextToImage:
    shutil.copytree(package, copy)
    manifest = json.loads((copy / "triptych.json").read_text())
    manifest["components"]["vae_decoder"]["latent_rgb"] = colours
    (copy / "triptych.json").write_text(json.dumps(manifest))
    return TextToImage.load(copy, device="cpu")


def test_a_preview_has_the_colours_of_the_manifest_and_the_size_of_the_image(package: Path, tmp_path: Path) -> None:
    pipe = with_colours(package, tmp_path / "p", RED)
    assert has_previews(pipe.package)
    (first, last) = pipe.stream(["a", "b"], **ARGUMENTS)
    preview = pipe.preview(first)
    assert preview.dtype == np.uint8
    assert preview.shape == (2, 64, 96, 3)
    assert (preview[..., 0] == 255).all()
    assert (preview[..., 1] == 0).all()
    assert preview[..., 2].std() > 0
    assert not np.array_equal(preview[0], preview[1])
    blue = np.clip(pipe.model.latents.to_vae(last.denoised)[:, 0] / 2 + 0.5, 0, 1) * 255
    factor = pipe.model.latents.factor
    squares = pipe.preview(last)[..., 2].reshape(2, 64 // factor, factor, 96 // factor, factor)
    assert np.corrcoef(squares.mean((2, 4)).ravel(), blue.ravel())[0, 1] > 0.7


def test_a_package_that_records_no_colours_says_so(package: Path) -> None:
    pipe = TextToImage.load(package, device="cpu")
    assert not has_previews(pipe.package)
    step = next(pipe.stream("a", **ARGUMENTS))
    with pytest.raises(PackageError, match="neither a preview decoder nor colours of latents"):
        pipe.preview(step)


def test_colours_of_other_latents_are_refused(package: Path, tmp_path: Path) -> None:
    pipe = with_colours(package, tmp_path / "p", {name: values[1:] for name, values in RED.items()})
    step = next(pipe.stream("a", **ARGUMENTS))
    with pytest.raises(PackageError, match="4 numbers for each colour; latents of 4 channels need 5"):
        pipe.preview(step)


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        ([1], "latent_rgb is .* it should be a JSON object"),
        ({"red": [1, 2]}, "latent_rgb.green is missing"),
        (RED | {"blue": [1, 2]}, "latent_rgb.blue is .* a list of 5 finite numbers"),
        (RED | {"red": [0, 0, 0, 0, "1"]}, "latent_rgb.red is .* a list of 5 finite numbers"),
    ],
    ids=["list", "missing", "short", "text"],
)
def test_colours_that_cannot_be_used_are_refused_when_the_package_is_opened(
    package: Path, tmp_path: Path, colours: Any, message: str
) -> None:
    with pytest.raises(PackageError, match=message):
        with_colours(package, tmp_path / "p", colours)
