"""What is asked of the network at every step: guidance, as a function around its call."""

from collections.abc import Callable

import numpy as np

Predict = Callable[[np.ndarray, float], np.ndarray]
Network = Callable[[np.ndarray, float, np.ndarray], np.ndarray]


def classifier_free(
    network: Network, positive: np.ndarray, negative: np.ndarray | None, guidance_scale: float
) -> Predict:
    """Classifier-free guidance (Ho and Salimans 2022, eq. 6, in Imagen's scale: 1 is none).

    Args:
        network: (latents [n, C, H, W], timestep, conditioning [n, S, D]) -> raw output [n, C, H, W].
        positive: conditioning float32 [n, S, D].
        negative: the same for what is to be avoided; None runs the network once a step, at batch n.
        guidance_scale: how far from the negative to the positive prediction, and beyond.

    Returns:
        (latents, timestep) -> guided raw output; one network call at batch 2n, or n without a negative.
    """
    if negative is None:
        return lambda latents, timestep: network(latents, timestep, positive)
    both = np.concatenate([negative, positive])
    count = len(positive)

    def predict(latents: np.ndarray, timestep: float) -> np.ndarray:
        output = network(np.concatenate([latents, latents]), timestep, both)
        guided = output[count:] - output[:count]
        guided *= np.float32(guidance_scale)
        guided += output[:count]
        return guided

    return predict
