"""Commands that are killed where they change a folder; the next run must give what one run gives, and nothing else."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

from triptych.runtime.errors import TriptychError

from ..attempt import Case
from ..inputs import PROMPT, SEED, STEPS, Inputs, pixels_of, succeed

_CHANGES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "shutil.rmtree")
_MOST_CHANGES = 40


def case(inputs: Inputs, random: Random) -> Case:
    """A command that is killed before one of its changes and then run again."""
    place = random.randrange(_MOST_CHANGES)
    commands: dict[str, Callable[[], list[Path]]] = {
        "generate": lambda: _generate(inputs),
        "batch": lambda: _batch(inputs),
    }
    if inputs.checkpoint is not None:
        commands["publish"] = _publish
    name = random.choice(list(commands))

    def run() -> bytes:
        _killed(commands[name], place)
        try:
            files = commands[name]()
        except (SystemExit, TriptychError) as error:  # refused: nobody but the killed one could be in the way
            raise RuntimeError(f"refused: {error}") from None
        left = sorted(file for file in Path().rglob("*") if file.is_file() and file not in files)
        # A batch's record of what is done is its own affair
        left = [file for file in left if file.suffix not in (".jsonl", ".journal")]
        if left:
            raise RuntimeError(f"left over: {', '.join(map(str, left))}")
        return b"".join(pixels_of(file) if file.suffix == ".png" else file.read_bytes() for file in files)

    expected = {"generate": inputs.pixels, "batch": inputs.pixels, "publish": b"new" * 3}[name]
    return Case(f"{name}, killed before change {place}", run, expected)


def _generate(inputs: Inputs) -> list[Path]:
    options = ("--steps", STEPS, "--seed", SEED, "--out", "out.png", "--force", "--device", "cpu")
    succeed("generate", inputs.package, PROMPT, *options)
    return [Path("out.png")]


def _batch(inputs: Inputs) -> list[Path]:
    row = f'{{"id": "a", "prompt": "{PROMPT}", "num_inference_steps": {STEPS}, "seed": {SEED}}}'
    Path("jobs.jsonl").write_text(row)
    succeed("batch", inputs.package, "jobs.jsonl", "out", "--device", "cpu")
    return [Path("out/a.png")]


def _publish() -> list[Path]:
    """Publish a package, and another one in its place."""
    from triptych.export.publish import publish

    names = ("model_index.json", "triptych.json", "unet/model.onnx")
    for content in ("old", "new"):
        with publish(Path("package"), force=True, needed_bytes=0) as folder:
            (folder / "unet").mkdir()
            for name in names:
                (folder / name).write_text(content)
    return [Path("package", name) for name in names]


def _killed(command: Callable[[], object], place: int) -> None:
    """Run a command in a process that ends itself before its change number `place`, as by `kill -9`."""
    process = os.fork()
    if process:
        os.waitpid(process, 0)
        return
    seen = 0
    here = os.getcwd()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in _CHANGES or (event == "open" and not _writes(arguments)):
            return
        path = os.path.abspath(os.fspath(arguments[0])) if isinstance(arguments[0], str | os.PathLike) else here
        if not path.startswith(here):
            return
        if seen == place:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    sys.addaudithook(hook)
    try:
        command()
    finally:
        os._exit(0)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
