"""Batching: several requests of one image each in one call. An image is the same alone and in a batch."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..pipeline import Output, TextToImage
from ..request import FIELDS, Request, Texts
from ..sampling import Step
from .upscaling import upscaled

if TYPE_CHECKING:
    from PIL.Image import Image

TEXTS = Texts._fields
IMAGES = ("image", "mask_image")
EACH = (*TEXTS, *IMAGES)
"""Arguments that differ between the images of a call, in addition to the seeds."""
SEEDS = ("seed", "variation_seed")


def key_of(pipe: TextToImage, request: Request) -> Hashable:
    """Batching key: requests of equal keys can share a call.

    All arguments except texts, images and seeds must be equal, and images must have equal sizes. Padding to the longest
    text of a call changes the other images, so texts of different numbers of chunks do not share a call.
    """
    present = tuple(name for name in (*EACH, *SEEDS) if getattr(request, name) is not None)
    shared = tuple(repr(getattr(request, name)) for name in FIELDS if name not in (*EACH, *SEEDS))
    sizes = tuple(getattr(request, name).size for name in IMAGES if name in present)
    chunks = max(pipe.text_encoders.chunks_of(getattr(request, name)) for name in TEXTS if name in present)
    return shared, present, sizes, chunks


def merged(requests: Sequence[Request]) -> Request:
    """One request for the images of requests with equal keys."""
    first = requests[0]
    names = [name for name in (*EACH, *SEEDS) if getattr(first, name) is not None]
    columns: dict[str, Any] = {name: [getattr(each, name) for each in requests] for name in names}
    return replace(first, **columns)


def call(
    pipe: TextToImage,
    requests: Sequence[Request],
    callback: Callable[[Step], bool | None] | None = None,
    upscale: float | None = None,
) -> Output:
    """Run requests with equal keys in one call; errors are those of `TextToImage.generate`.

    With a factor to upscale by, in two passes: see `upscaled`.
    """
    if upscale is not None:
        return upscaled(pipe, merged(requests), upscale, callback)
    return pipe.generate(merged(requests), callback)


def run(
    pipe: TextToImage, requests: Sequence[Request], callback: Callable[[Step], bool | None] | None = None
) -> "list[Image]":
    """The images of `call`."""
    return call(pipe, requests, callback).images
