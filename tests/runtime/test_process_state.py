"""The state of the process is the caller's: what Triptych needs of it is restored."""

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

from triptych.runtime.environment import environment
from triptych.runtime.ort.probe import why_not
from triptych.runtime.ort.providers import CPU

STATE = """
import contextlib, locale, logging, os, signal, socket, sys, threading, warnings
import numpy as np
from PIL import Image

def state():
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "filters of warnings": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "log level": logging.getLogger().level,
        "log handlers": list(logging.getLogger().handlers),
        "log levels": {n: l.level for n, l in logging.root.manager.loggerDict.items() if isinstance(l, logging.Logger)},
        "numpy's errors": np.geterr(),
        "numpy's random state": np.random.get_state()[1].tolist(),
        "Pillow's limit": Image.MAX_IMAGE_PIXELS,
        "socket timeout": socket.getdefaulttimeout(),
        "locale": locale.setlocale(locale.LC_ALL),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook),
        "paths": list(sys.path),
        "recursion": sys.getrecursionlimit(),
        "signals": {each: signal.getsignal(each) for each in signal.valid_signals()},
    }

def changed(before):
    after = state()
    loggers = before["log levels"]
    after["log levels"] = {name: after["log levels"][name] for name in loggers}  # new loggers are no change
    return [key for key, value in before.items() if after[key] != value]

before = state()
"""


def changes(code: str) -> str:
    """Names of what differs after the code, run in a process of its own."""
    program = f"{STATE}\n{code}\nprint(changed(before))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def test_an_image_leaves_the_process_as_it_was(package: Path) -> None:
    code = (
        "from triptych.runtime import TextToImage\n"
        f"pipe = TextToImage.load({str(package)!r}, device='auto')\n"
        "pipe('a fox', num_inference_steps=2, seed=1)\n"
    )
    assert changes(code) == "[]"


def test_a_change_is_found() -> None:
    assert changes("os.environ['X'] = '1'; np.seterr(all='ignore')") == "['environment', \"numpy's errors\"]"


@pytest.mark.parametrize("module", ["batch.ray_engine", "service.server", "cli"])
def test_an_import_sets_no_variables(module: str) -> None:
    pytest.importorskip({"batch.ray_engine": "ray"}.get(module, "fastapi"))
    found = changes(f"import triptych.runtime.{module}")
    assert "environment" not in found
    assert "Pillow's limit" not in found


def test_trying_a_provider_leaves_the_log_of_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(level: int) -> None:
        raise AssertionError(f"the severity was set to {level}")

    monkeypatch.setattr(ort, "set_default_logger_severity", refuse)
    assert why_not(CPU) is None


def test_variables_are_restored_after_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_TEST_SET", "before")
    monkeypatch.delenv("TRIPTYCH_TEST_UNSET", raising=False)
    before, variables = dict(os.environ), {"TRIPTYCH_TEST_SET": "1", "TRIPTYCH_TEST_UNSET": "2"}
    with environment(variables):
        assert {name: os.environ[name] for name in variables} == variables
    assert dict(os.environ) == before
    with pytest.raises(ZeroDivisionError), environment(variables):
        raise ZeroDivisionError
    assert dict(os.environ) == before
