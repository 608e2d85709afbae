"""Close a pipeline that has generated an image: python -m tests.standin.programs.close PACKAGE

Marks `close` and `close end` in the log.
"""

import sys

from tests.standin.marks import mark
from triptych.runtime import TextToImage


def main() -> None:
    """Read the command line, generate and close."""
    with TextToImage.load(sys.argv[1], device="cuda") as pipe:
        pipe("red heart", num_inference_steps=2, seed=0)
        mark("close")
    mark("close end")


if __name__ == "__main__":
    main()
