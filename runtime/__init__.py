"""Text to image on numpy and ONNX Runtime alone.

from triptych.runtime import TextToImage
pipe = TextToImage.load("sd15")
pipe("a red fox", seed=7).images[0].save("fox.png")
"""

from .errors import TriptychError
from .pipeline import Output, TextToImage
from .sampling import Step

__all__ = ["Output", "Step", "TextToImage", "TriptychError"]
