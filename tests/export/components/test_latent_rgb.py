"""Colours of latents: the least-squares fit to a decoder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import Component, Input, fit_latent_rgb
from triptych.export.components.component import gaussian
from triptych.export.components.vae import vae_decoder

REPOSITORY = Path(__file__).parents[3]
CORRELATION = 0.95  # of colours with the mean colours of decoded pixels; 0.97 to 0.99 were measured


def component(decode: Callable[[torch.Tensor], torch.Tensor]) -> Component:
    return Component(
        name="vae_decoder",
        config={},
        module=torch.nn.Identity(),
        reference=lambda latents: (decode(latents),),
        inputs={"latent_sample": Input(("batch_size", 2, "height", "width"), gaussian(0.2))},
        outputs={"sample": ("batch_size", 3, "height", "width")},
        default={},
        cases=(),
    )


def test_colours_of_a_linear_decoder_are_its_own() -> None:
    matrix = torch.tensor([[0.2, -0.1], [0.0, 0.3], [-0.25, 0.05]])
    constant = torch.tensor([0.1, -0.2, 0.0])

    def decode(latents: torch.Tensor) -> torch.Tensor:
        pixels = torch.einsum("kc,nchw->nkhw", matrix, latents) + constant[:, None, None]
        return pixels.repeat_interleave(8, 2).repeat_interleave(8, 3)

    fitted = fit_latent_rgb(component(decode))
    assert fitted is not None
    found = np.array([fitted.red, fitted.green, fitted.blue])
    np.testing.assert_allclose(found[:, :2], matrix, atol=1e-5)
    np.testing.assert_allclose(found[:, 2], constant, atol=1e-5)


def test_nothing_is_fitted_to_a_decoder_that_gives_nan() -> None:
    assert fit_latent_rgb(component(lambda latents: latents[:, :1].repeat(1, 3, 8, 8) * torch.nan)) is None


@pytest.mark.parametrize("name", ["red-heart", "car", "flower", "penguin-on-a-purple-background"])
def test_colours_of_the_demo_model_are_those_of_its_images(name: str) -> None:
    decoder = vae_decoder(open_checkpoint(REPOSITORY / "models" / "emoji"), "vae_decoder", "vae")
    vae, fitted = decoder.original, fit_latent_rgb(decoder)
    assert fitted is not None
    assert vae is not None
    with Image.open(Path(__file__).parent / "images" / f"{name}-1.png") as image:
        pixels = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        latents = vae.encode(torch.from_numpy(pixels)).latent_dist.mean  # type: ignore[operator]
        decoded = vae.decode(latents).sample.clamp(-1, 1)  # type: ignore[operator]
    expected = torch.nn.functional.adaptive_avg_pool2d(decoded, latents.shape[2:]).numpy()
    matrix = np.array([fitted.red, fitted.green, fitted.blue])
    colours = np.einsum("kc,nchw->nkhw", matrix[:, :-1], latents.numpy()) + matrix[:, -1, None, None]
    assert np.corrcoef(colours.clip(-1, 1).ravel(), expected.ravel())[0, 1] > CORRELATION
