"""The image coder: an AutoencoderKL, 64x64 pixels to 4x16x16 latents, trained on all emoji.

Its latents are whitened afterwards: a linear map that makes the four channels uncorrelated and of unit variance is
folded into the two 1x1 quant convolutions, so that Stable Diffusion's own ``scaling_factor`` is right.
"""

from pathlib import Path

import images
import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import AutoencoderKL
from loop import Plan, save_atomically, step_generator, train
from torch import Tensor

PLAN = Plan("vae", steps=3400, rate=7e-4, warmup=100, decay_share=0.6)
BATCH = 8
SEED = 1
LATENT_CHANNELS = 4
SCALING_FACTOR = 0.18215
KL_WEIGHT = 2e-5  # each latent against each pixel: both terms are means
ROOT_WEIGHT = 0.5
LOW_FREQUENCY_WEIGHT = 0.5
GREEN_RED_WEIGHT = 0.5
COLOUR_WEIGHT = 1.0
FIRST_LOG_VARIANCE = -5.0


def build() -> AutoencoderKL:
    """The untrained coder, about 1.7 M parameters."""
    torch.manual_seed(SEED)
    vae = AutoencoderKL(
        block_out_channels=(32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=16,
        sample_size=images.SIDE,
        scaling_factor=SCALING_FACTOR,
    )
    with torch.no_grad():
        # Little noise at the start: the decoder learns from the image at once, not after the noise has shrunk.
        vae.quant_conv.bias[LATENT_CHANNELS:] = FIRST_LOG_VARIANCE
    return vae


def random_images(sprites: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """Posed images of random sprites on random backgrounds, [batch, 3, 64, 64] in -1..1."""
    index = torch.randint(len(sprites), (batch,), generator=generator)
    pose = images.random_pose(batch, generator)
    background = torch.randint(len(images.BACKGROUNDS), (batch,), generator=generator)
    background[torch.rand(batch, generator=generator) < 0.3] = 0
    image = images.compose(sprites[index], pose, images.background_colours(background, generator))
    return image.contiguous(memory_format=torch.channels_last)


def reconstruction_loss(decoded: Tensor, image: Tensor) -> Tensor:
    """L1, the root of the mean square, and L1 again on a 4x smaller image and on green minus red.

    Plain L1 alone is slow to find the hue; PSNR measures the root for each image.
    """
    error = decoded - image
    root = error.square().mean(dim=(1, 2, 3)).sqrt().mean()
    low = F.avg_pool2d(error, 4).abs().mean()
    green_red = (error[:, 1] - error[:, 0]).abs().mean()
    return error.abs().mean() + ROOT_WEIGHT * root + LOW_FREQUENCY_WEIGHT * low + GREEN_RED_WEIGHT * green_red


def colour_loss(mean: Tensor, image: Tensor) -> Tensor:
    """Residual of the best linear map from latents to the colours of the 4x smaller image.

    It reaches the encoder directly. Without it one hue or the other, green mostly, stays out of the latents for long.
    """
    rows = F.pad(mean.transpose(0, 1).flatten(1), (0, 0, 0, 1), value=1.0).T
    small = F.avg_pool2d(image, image.shape[-1] // mean.shape[-1]).transpose(0, 1).flatten(1).T
    with torch.no_grad():
        ridge = 1e-3 * len(rows) * torch.eye(rows.shape[1])
        best = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ small)
    loss: Tensor = (rows @ best - small).abs().mean()
    return loss


def fit(sprites: Tensor, folder: Path, first: Path | None = None) -> AutoencoderKL:
    """Train, whiten, and return the coder; from the weights of the checkpoint ``first``, where one is given."""
    vae = build() if first is None else AutoencoderKL.from_pretrained(first / "vae", low_cpu_mem_usage=False).float()
    vae = vae.to(memory_format=torch.channels_last)

    def loss_of_step(step: int) -> Tensor:
        generator = step_generator(SEED, step)
        image = random_images(sprites, BATCH, generator)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(image).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator)
            decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        loss = reconstruction_loss(decoded.float(), image) + COLOUR_WEIGHT * colour_loss(mean, image)
        total: Tensor = loss + KL_WEIGHT * kl
        return total

    finished = folder / "coder.pt"
    if finished.exists():
        vae.load_state_dict(torch.load(finished, weights_only=True))
    else:
        train(PLAN, vae, loss_of_step, folder)
        whiten(vae, sprites)
        save_atomically(vae.state_dict(), finished)
    return vae.eval().requires_grad_(False)


@torch.no_grad()
def whiten(vae: AutoencoderKL, sprites: Tensor) -> None:
    """Make the latents of typical images uncorrelated, of mean 0 and deviation 1 / SCALING_FACTOR, in place."""
    generator = step_generator(SEED, PLAN.steps)
    batches = [random_images(sprites, 64, generator) for _ in range(8)]
    posteriors = [vae.encode(batch).latent_dist for batch in batches]
    means = torch.cat([p.mean for p in posteriors]).transpose(0, 1).flatten(1).double()
    variance = torch.cat([p.var for p in posteriors]).transpose(0, 1).flatten(1).double().mean(dim=1)
    centre = means.mean(dim=1)
    scales, basis = torch.linalg.eigh(torch.cov(means) + torch.diag(variance))
    forward = torch.diag(1 / (SCALING_FACTOR * scales.sqrt())) @ basis.T
    backward = torch.linalg.inv(forward)

    c = LATENT_CHANNELS
    weight, bias = vae.quant_conv.weight[:, :, 0, 0].double(), vae.quant_conv.bias.double()
    new_weight, new_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    new_weight[:c], new_bias[:c] = forward @ weight[:c], forward @ (bias[:c] - centre)
    # The mixed posterior has no diagonal form that depends on the image: keep its mean variance.
    new_bias[c:] = ((forward**2) @ variance).log()
    vae.quant_conv.weight.copy_(new_weight[:, :, None, None])
    vae.quant_conv.bias.copy_(new_bias)

    weight = vae.post_quant_conv.weight[:, :, 0, 0].double()
    bias = vae.post_quant_conv.bias + weight @ centre
    vae.post_quant_conv.weight.copy_((weight @ backward)[:, :, None, None])
    vae.post_quant_conv.bias.copy_(bias)
