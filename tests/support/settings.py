"""Settings of an image, with characters, digits and lines that are easily lost."""

from triptych.runtime.image.settings import Settings

SETTINGS = Settings(
    prompt="a red fox, 25% grey ✈\nsecond line",
    negative_prompt="blurry",
    num_inference_steps=20,
    guidance_scale=7.5,
    seed=2**64 - 1,
    width=24,
    height=16,
    scheduler="DDIMScheduler",
    noise="torch",
    model="sd15",
    model_hash="0123456789ab",
    precision="fp32",
    version="0.1.0",
)
