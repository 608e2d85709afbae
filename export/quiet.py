"""What the libraries below tell their developers is not for people who export a checkpoint."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARIES = ("diffusers", "onnx_ir", "onnxscript", "torch", "torch.onnx", "torch.export", "transformers")


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, the libraries' warnings and log lines below an error are dropped; real failures are exceptions."""
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
