"""Run a command as on another processor: python -m tests.processors avx2 COMMAND [ARGUMENT ...]"""

import os
import sys
from pathlib import Path

from tests.processors import environment, make

FOLDER = Path("build") / "processors"

if __name__ == "__main__":
    processor, *command = sys.argv[1:]
    if not FOLDER.exists():
        make(FOLDER)
    os.execvpe(command[0], command, environment(processor, FOLDER.resolve()))
