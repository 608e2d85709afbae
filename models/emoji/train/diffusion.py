"""The denoiser: a UNet2DConditionModel that learns v-prediction on the latents, with the text encoder."""

from pathlib import Path

import text
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from loop import Plan, train
from torch import Tensor, nn
from transformers import CLIPTextModel

PLAN = Plan("unet", steps=7000, rate=1e-3, warmup=200, decay_share=0.5, ema=0.995, muon=True)
BATCH = 32
SEED = 4
MIN_SNR = 5.0  # Hang et al. 2023, for v-prediction: min(snr + 1, 5) / (snr + 1)
TIME_SKEW = 0.7  # t = 1000 u^0.7: more often at high noise, where the subject is decided


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule, with v-prediction; trailing steps, so that sampling starts at pure noise."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def build() -> UNet2DConditionModel:
    """The untrained U-Net, about 5.6 M parameters; 16x16 latents, cross-attention at 8x8 and 4x4."""
    torch.manual_seed(SEED)
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text.WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def fit(sampler: text.Sampler, encoder: CLIPTextModel, folder: Path) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Train both together; return them with their averaged weights."""
    unet = build().to(memory_format=torch.channels_last)
    network = nn.ModuleDict({"unet": unet, "encoder": encoder})
    alphas = scheduler().alphas_cumprod

    def loss_of_step(step: int) -> Tensor:
        index, ids, generator = sampler.draw(step, text.DROPOUT)
        x_0 = sampler.data.latents[index].float()
        t = (len(alphas) * torch.rand(BATCH, generator=generator) ** TIME_SKEW).long()
        alpha, sigma = alphas[t].sqrt()[:, None, None, None], (1 - alphas[t]).sqrt()[:, None, None, None]
        noise = torch.randn(x_0.shape, generator=generator)
        x_t = (alpha * x_0 + sigma * noise).contiguous(memory_format=torch.channels_last)
        predicted = unet(x_t, t, encoder(ids).last_hidden_state).sample
        error = (predicted - (alpha * noise - sigma * x_0)).square().mean(dim=(1, 2, 3))
        snr = alphas[t] / (1 - alphas[t])
        loss: Tensor = (error * (snr + 1).clamp(max=MIN_SNR) / (snr + 1)).mean()
        return loss

    train(PLAN, network, loss_of_step, folder)
    return unet, encoder
