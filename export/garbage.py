"""Garbage collections that take less time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def set_aside() -> Iterator[None]:
    """Leave what exists at the start out of garbage collections inside the block.

    A full collection visits every object, and PyTorch, diffusers and transformers are half a million objects that stay.
    An export collects several times for each component, so that one of them is in memory at a time. Objects that the
    caller has frozen before are collected again afterwards: `gc.unfreeze` knows no difference.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
