"""Silence of the libraries' warnings and log lines, which are for their developers and not for users."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARIES = ("diffusers", "onnx_ir", "onnxscript", "torch", "torch.onnx", "torch.export", "transformers")


@contextmanager
def quiet() -> Iterator[None]:
    """Drop warnings, and log lines of the libraries below errors, inside the block; real failures are exceptions."""
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
