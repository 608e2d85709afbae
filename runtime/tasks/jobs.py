"""One picture that is asked for, and several that can be made in one call: they are what they are alone."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..pipeline import Output, TextToImage
from ..sampling import Step

if TYPE_CHECKING:
    from PIL.Image import Image

EACH = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2", "image", "mask_image")
"""The arguments of which a call takes one for each picture."""


@dataclass(frozen=True)
class Job:
    """A picture: the arguments of `TextToImage.__call__` that make it, those that are not given left out.

    `prompt` is one text and `seed` one number; there is no `num_images_per_prompt`.
    """

    arguments: Mapping[str, Any]


def key_of(pipe: TextToImage, job: Job) -> Hashable:
    """Equal for jobs that one call can make: all is the same but texts, pictures and seeds, whose sizes are.

    Texts of a call are made as long as the longest, which changes the others; so those of other lengths do not share.
    """
    said = job.arguments
    texts = [said[name] for name in EACH[:4] if name in said]
    shared = {name: repr(value) for name, value in said.items() if name not in (*EACH, "seed")}
    sizes = tuple((name, said[name].size) for name in EACH[4:] if name in said)
    chunks = max(pipe.text_encoders.chunks_of(text) for text in texts)
    return tuple(sorted(shared.items())), tuple(name for name in EACH if name in said), sizes, chunks


def call(pipe: TextToImage, jobs: Sequence[Job], callback: Callable[[Step], bool | None] | None = None) -> Output:
    """What one call gives for jobs with equal keys, a picture for each; errors as those of the call."""
    first = dict(jobs[0].arguments)
    listed = {name: [job.arguments[name] for job in jobs] for name in (*EACH, "seed") if name in first}
    return pipe(**{**first, **listed, "callback": callback})


def run(pipe: TextToImage, jobs: Sequence[Job], callback: Callable[[Step], bool | None] | None = None) -> "list[Image]":
    """The pictures of `call`."""
    return call(pipe, jobs, callback).images
