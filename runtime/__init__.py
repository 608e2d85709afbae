"""Text to image on numpy and ONNX Runtime alone.

from triptych.runtime import TextToImage
pipe = TextToImage.load("sd15")
pipe("a red fox", seed=7).images[0].save("fox.png")
"""

from typing import TYPE_CHECKING, Any

__all__ = ["Output", "Step", "TextToImage", "TriptychError"]

if TYPE_CHECKING:
    from .errors import TriptychError
    from .pipeline import Output, TextToImage
    from .sampling import Step

    __version__: str
else:

    def __getattr__(name: str) -> Any:
        """Import a name on first use: the command line catches Ctrl-C before numpy and ONNX Runtime are imported."""
        if name == "__version__":
            from .image.settings import own_version

            return own_version()
        if name in ("Output", "TextToImage"):
            from . import pipeline as home
        elif name == "Step":
            from . import sampling as home
        elif name == "TriptychError":
            from . import errors as home
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(home, name)
