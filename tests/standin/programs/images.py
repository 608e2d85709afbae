"""Generate images on CUDA: python -m tests.standin.programs.images PACKAGE [ARGUMENTS [CALLS [OPTIONS]]]

ARGUMENTS of a call and OPTIONS of the provider are JSON. Marks the calls and their steps in the log, and prints where
the nodes of all sessions run and what was warned of.
"""

import json
import sys
import warnings
from functools import partial
from typing import Any

from tests.standin.marks import mark

from .sessions import Sessions


def _mark_step(call: int, step: Any) -> None:
    mark(f"call {call} step {step.index}")


def main() -> None:
    """Read the command line, generate and print."""
    package, *rest = sys.argv[1:]
    arguments = json.loads(rest[0]) if rest else {}
    calls = int(rest[1]) if len(rest) > 1 else 1
    options = json.loads(rest[2]) if len(rest) > 2 else None
    sessions = Sessions()
    from triptych.runtime import TextToImage

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        pipe = TextToImage.load(package, device="cuda", provider_options=options)
        for call in range(calls):
            mark(f"call {call}")
            pipe("red heart", seed=call, callback=partial(_mark_step, call), **arguments)
            mark(f"call {call} end")
    print(json.dumps({"placement": sessions.placement(), "warnings": [str(each.message) for each in warned]}))


if __name__ == "__main__":
    main()
