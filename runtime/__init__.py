"""Text to image on numpy and ONNX Runtime alone.

from triptych.runtime import TextToImage
pipe = TextToImage.load("sd15")
pipe("a red fox", seed=7).images[0].save("fox.png")
"""

from typing import TYPE_CHECKING

from .errors import TriptychError
from .pipeline import Output, TextToImage
from .sampling import Step

__all__ = ["Output", "Step", "TextToImage", "TriptychError"]

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """Look up `__version__` when it is asked for: importlib.metadata is slow to import."""
        if name == "__version__":
            from .image.settings import own_version

            return own_version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
