"""Images in, latents and pixels, images out."""
