"""The loop between noise and latents: guidance, mask blending, on the host and on a device."""
