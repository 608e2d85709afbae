"""Names of weights in the original layout of Stable Diffusion."""

from pathlib import Path

from triptych.benchmarks.checkpoints.original_layout import unet_name, vae_name


def test_names_in_the_original_layout_are_those_that_diffusers_reads(checkpoint: Path) -> None:
    """The SD 1.5 architecture's own names, there and back through diffusers' reader of single files."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    from triptych.benchmarks.checkpoints.architectures import FULL

    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**FULL["unet"]), AutoencoderKL(**FULL["vae"])
    for module, name, prefix, back in (
        (unet, unet_name, "model.diffusion_model.", convert_ldm_unet_checkpoint),
        (vae, vae_name, "first_stage_model.", convert_ldm_vae_checkpoint),
    ):
        state = module.state_dict()
        original = {prefix + name(key): tensor for key, tensor in state.items()}
        assert len(original) == len(state)
        read_back = back(original, dict(module.config))
        assert {key: tuple(tensor.shape) for key, tensor in read_back.items()} == {
            key: tuple(tensor.shape) for key, tensor in state.items()
        }
