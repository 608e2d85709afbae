"""The command line: `triptych export | generate | bench | inspect | doctor`.

Results go to stdout, progress and summaries to stderr. Exit status: 0 done, 1 failed, 2 wrong use or bad input.
"""

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from .errors import ArgumentError, TriptychError

app = typer.Typer(
    help="Text to image in three ONNX graphs: export once, run on numpy and ONNX Runtime alone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEFAULT_PACKAGE = Path("models/emoji-package")

_INTERRUPTED = 130  # what shells report of a command that Ctrl-C ended

PackagePath = Annotated[Path, typer.Argument(help="Folder of ONNX graphs.", show_default=False)]
DeviceName = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, openvino, tensorrt, or a provider's name.")]
SessionOptions = Annotated[
    list[str] | None, typer.Option("--session-option", metavar="KEY=VALUE", help="ONNX Runtime session option.")
]
ProviderOptions = Annotated[
    list[str] | None, typer.Option("--provider-option", metavar="KEY=VALUE", help="Option of the provider.")
]


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False) -> None:
    """Read by `main` before the command runs; here so that `--help` shows it."""


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="Checkpoint: a diffusers folder or a hub id.", show_default=False)],
    package: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    precision: Annotated[str, typer.Option(help="fp32 or fp16.")] = "fp32",
    static: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Fix the size of pictures.")] = None,
    batch: Annotated[
        int, typer.Option(help="With --static: rows of a U-Net call; 2 is one picture with guidance.")
    ] = 2,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace PACKAGE once the new one is whole.")] = False,
) -> None:
    """Turn a checkpoint into a package of verified ONNX graphs."""
    try:
        from triptych.export import export as run
    except ImportError as error:
        raise TriptychError(f"`triptych export` needs triptych[export]: {error}") from None
    width, height = (0, 0) if static is None else _size(static)
    shape = None if static is None else (batch, height, width)
    print(run(source, package, precision=precision, static=shape, force=force, revision=revision, report=_say))


@app.command()
def generate(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PACKAGE] PROMPT...", help=f"PACKAGE may be left out if {DEFAULT_PACKAGE} exists."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the scheduler.")] = 50,
    guidance: Annotated[float, typer.Option(help="Guidance scale; 1 is none.")] = 7.5,
    seed: Annotated[int | None, typer.Option(help="Seed of the first picture; drawn if left out.")] = None,
    negative: Annotated[str, typer.Option(help="What to avoid.")] = "",
    scheduler: Annotated[str | None, typer.Option(help="In place of the package's own.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; the package's own if left out.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; the package's own if left out.")] = None,
    num: Annotated[int, typer.Option(help="Pictures of each prompt, seeds counting up.")] = 1,
    noise: Annotated[str, typer.Option(help="torch, torch_cuda or numpy.")] = "torch",
    device: DeviceName = "auto",
    out: Annotated[Path, typer.Option(help="Folder, or a name that ends in .png.")] = Path(),
    grid: Annotated[bool, typer.Option("--grid", help="Also write a contact sheet.")] = False,
    from_image: Annotated[Path | None, typer.Option(help="Repeat a picture from its own settings.")] = None,
    session_option: SessionOptions = None,
    provider_option: ProviderOptions = None,
) -> None:
    """Make pictures from prompts, as PNGs that carry their settings."""
    package, prompts = _package_and_prompts(words or [], from_image)
    from .generate import generate as run

    arguments = {
        "negative_prompt": negative,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
        "height": height,
        "width": width,
        "num_images_per_prompt": num,
        "scheduler": scheduler,
        "noise": noise,
    }
    load = {
        "device": _device(device),
        "session_options": _pairs(session_option),
        "provider_options": _pairs(provider_option),
    }
    for path in run(package, prompts, arguments, load, out, grid=grid, from_image=from_image):
        print(path)


@app.command()
def bench(
    package: PackagePath,
    device: DeviceName = "auto",
    steps: Annotated[int, typer.Option(help="Steps of the whole picture.")] = 20,
    width: Annotated[int | None, typer.Option(help="Pixels; the package's own if left out.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; the package's own if left out.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the latency per component (PNG or SVG).")] = None,
    session_option: SessionOptions = None,
    provider_option: ProviderOptions = None,
) -> None:
    """Measure latency per component."""
    try:
        from triptych.benchmarks.bench import bench as run
    except ImportError as error:
        raise TriptychError(f"`triptych bench` needs triptych[bench]: {error}") from None
    options = {
        "device": _device(device),
        "session_options": _pairs(session_option),
        "provider_options": _pairs(provider_option),
    }
    run(package, options, steps=steps, width=width, height=height, json_file=json_file, plot=plot, report=_say)


@app.command()
def inspect(
    package: PackagePath,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Also read every file and compare its sha256.")] = False,
) -> None:
    """Show what a package holds."""
    from rich.console import Console

    from . import inspection
    from .package import open_package

    opened = open_package(package)
    verified = list(opened.verify()) if verify else []
    description = inspection.describe(opened)
    if as_json:
        print(json.dumps({**description, "verified": verified} if verify else description, indent=2))
        return
    inspection.show(description, Console())
    if verify:
        print(f"verified: {len(verified)} files have the sha256 of the manifest")


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """Show versions, the providers that work, and why the others do not."""
    from rich.console import Console

    from .doctor import examine, show

    report = examine()
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        show(report, Console())
    if report["problems"]:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; errors meant for the user become one line and their exit status."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    warnings.showwarning = _show_warning
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:  # wrong use, in typer's own words
        _fail(error.format_message(), error.exit_code)
    except TriptychError as error:
        if "--debug" in sys.argv[1:]:
            raise
        _fail(str(error), error.exit_status)
    except typer.Abort:
        _fail("interrupted", _INTERRUPTED)


def _fail(message: str, status: int) -> NoReturn:
    if message:  # typer's own help, shown where no command was given, comes without one
        _say(f"error: {message}")
    sys.exit(status)


def _package_and_prompts(words: list[str], from_image: Path | None) -> tuple[Path, list[str]]:
    """Tell the package from the prompts: it comes first, and may be left out where the default one exists."""
    named = len(words) > 1 or from_image is not None or (words and Path(words[0]).is_dir())
    package, prompts = (Path(words[0]), words[1:]) if words and named else (DEFAULT_PACKAGE, words)
    if from_image is not None and prompts:
        raise ArgumentError("--from-image brings its own prompt; leave PROMPT out")
    if from_image is None and not prompts:
        raise ArgumentError("no prompt given: triptych generate PACKAGE PROMPT...")
    if package == DEFAULT_PACKAGE and not package.is_dir():
        raise ArgumentError(f"no package given, and there is no {DEFAULT_PACKAGE}: triptych generate PACKAGE PROMPT...")
    return package, prompts


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ArgumentError(f"--static {text}: give WIDTHxHEIGHT in pixels, such as 512x512")
    return int(width), int(height)


def _pairs(options: list[str] | None) -> dict[str, str]:
    pairs = {}
    for option in options or []:
        key, equals, value = option.partition("=")
        if not (key and equals):
            raise ArgumentError(f"option {option!r}: give KEY=VALUE")
        pairs[key] = value
    return pairs


def _device(name: str) -> str | list[str]:
    """A device name as it is; ONNX Runtime provider names, with commas between them, as a list."""
    return name.split(",") if "Execution" in name else name


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"warning: {message}")
