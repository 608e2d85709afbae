"""Every sampler as a table of coefficients, and the loop that applies one.

sampler = Sampler.from_config(scheduler_config, num_inference_steps=20)
for step in denoise(predict, noise, sampler):
    ...
"""

from .denoise import Step, denoise
from .registry import defaults, with_scheduler
from .sampler import Sampler

__all__ = ["Sampler", "Step", "defaults", "denoise", "with_scheduler"]
