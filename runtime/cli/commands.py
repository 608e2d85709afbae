"""The command line: its main program, and the commands that have no file of their own.

Results go to stdout, progress and summaries to stderr. Exit status: 0 done, 1 failed, 2 wrong use or bad input.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import click

from ..errors import TriptychError, system_reason
from ..extras import needed
from ..ort.library import silence_log
from . import completion
from .flags import Flags, Group, flags
from .hub import list_packages, pull, push, remove
from .images import batch, generate
from .options import HEIGHT, WIDTH, calibrating, device_of, loading, sourcing
from .output import INTERRUPTED, fail, flush_stdout, open_streams, print_line, print_status
from .serve import ray_config, serve
from .stage_line import StageLine
from .values import HeightAndWidth
from .wording import in_option_words

_PATH = click.Path(path_type=Path)
_PACKAGE = click.argument("package", type=_PATH, shell_complete=completion.packages)
_CALIBRATION = {
    "guidance_scale": "--calibration-guidance",
    "num_inference_steps": "--calibration-steps",
    "steps": "--calibration-steps",
}
"""Argument of a calibration -> its option."""


@click.group(
    cls=Group,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=flags(),
)
@click.version_option(package_name="triptych")
def cli() -> None:
    """Text to image in three ONNX graphs: export once, run on numpy and ONNX Runtime alone."""


@cli.command()
@click.argument("source")
@click.argument("package", type=_PATH)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    shell_complete=completion.one_of(completion.precisions),
    help="fp32, fp16, int8, w8 or w4.",
)
@click.option(
    "--dialect",
    shell_complete=completion.one_of(completion.dialects),
    help="Operator set: portable, cpu or cuda; if left out, the one for this machine.",
)
@click.option("--static", type=HeightAndWidth(), metavar="WIDTHxHEIGHT", help="Fix the size of images.")
@click.option(
    "--batch",
    default=2,
    show_default=True,
    help="With --static: rows of a denoiser call; 2 is one image with guidance.",
)
@sourcing
@click.option("--force", is_flag=True, help="Replace PACKAGE once the new one is complete.")
@calibrating
@click.option(
    "--allow-low-quality",
    is_flag=True,
    help="For int8: write the package even if its images are below 30 dB PSNR or 0.92 SSIM.",
)
def export(
    source: str,
    package: Path,
    precision: str,
    dialect: str | None,
    static: tuple[int, int] | None,
    batch: int,
    origin: dict[str, Any],
    force: bool,
    calibration: dict[str, Any],
    allow_low_quality: bool,
) -> None:
    """Export SOURCE to a PACKAGE of verified ONNX graphs.

    SOURCE is a diffusers folder, a single .safetensors file, or a hub id.
    """
    options: dict[str, Any] = {
        "precision": precision,
        "dialect": dialect,
        "static": None if static is None else (batch, *static),
        "force": force,
        "allow_low_quality": allow_low_quality,
        **origin,
    }
    from triptych.export.arguments import Arguments

    with in_option_words():
        Arguments(source, package, calibrated=bool(calibration), **options).check()
    with needed("export", "`triptych export`"):
        from triptych.export import CalibrationRun
        from triptych.export import export as run
    with in_option_words(_CALIBRATION):
        run_of = CalibrationRun(**calibration) if calibration else None
        with StageLine() as line:
            written = run(source, package, **options, calibration=run_of, report=line.report, progress=line.show)
    print(written)


@cli.command()
@_PACKAGE
@loading
@click.option("--steps", type=int, help="Steps per image; if left out, the package's default, else 20.")
@WIDTH
@HEIGHT
@click.option("--json", "json_file", type=_PATH, help="Write the measurements to a JSON file.")
@click.option("--plot", type=_PATH, help="Plot the latency per component (PNG or SVG).")
@click.option(
    "--against", metavar="NAME,...", help="Runtimes to compare with; `python -m triptych.benchmarks.peers` lists them."
)
@click.option("--checkpoint", type=_PATH, help="With --against: the diffusers folder that PACKAGE was exported from.")
def bench(
    package: Path,
    load: dict[str, Any],
    steps: int | None,
    width: int | None,
    height: int | None,
    json_file: Path | None,
    plot: Path | None,
    against: str | None,
    checkpoint: Path | None,
) -> None:
    """Measure latency per component, or, with --against, compare with other runtimes."""
    with needed("bench", "`triptych bench`"):
        from triptych.benchmarks.bench import bench as run
        from triptych.benchmarks.peers.against import compare
    with in_option_words({"num_inference_steps": "--steps"}):
        if against is None:
            size = {"width": width, "height": height}
            run(package, load, steps=steps, **size, json_file=json_file, plot=plot, report=print_status)
        else:
            peers = against.split(",")
            compare(package, peers, load, checkpoint=checkpoint, steps=steps, json_file=json_file, report=print_status)


@cli.command()
@_PACKAGE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--verify", is_flag=True, help="Also read every file and compare its sha256.")
@click.option(
    "--device",
    shell_complete=completion.one_of(completion.devices),
    help="Also open the graphs on this device and show where their nodes run.",
)
def inspect(package: Path, as_json: bool, verify: bool, device: str | None) -> None:
    """Show the contents of a package."""
    from ..ort.device import open_device
    from ..package.package import open_package
    from . import inspection

    opened = open_package(package)
    verified = list(opened.verify()) if verify else []
    description = inspection.describe(opened, None if device is None else open_device(device_of(device)))
    if as_json:
        print(json.dumps({**description, "verified": verified} if verify else description, indent=2))
        return
    print(inspection.as_text(description))
    if verify:
        print(f"verified: {len(verified)} files have the sha256 of the manifest")


@cli.command()
@click.argument("names", nargs=-1, shell_complete=completion.schedulers)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
@click.option("--plot", type=_PATH, help="Plot noise levels and coefficients (PNG or SVG).")
def schedulers(names: tuple[str, ...], as_json: bool, plot: Path | None) -> None:
    """List all schedulers, or those in NAMES.

    Order, denoiser calls and noise are for diffusers' defaults, with the options that a short name sets.
    """
    from dataclasses import asdict

    from ..sampling import listing
    from .scheduler_table import as_text

    chosen = names or tuple(listing.names())
    descriptions = [listing.describe(name) for name in chosen]
    if plot is not None:
        with needed("bench", "`triptych schedulers --plot`"):
            from triptych.benchmarks.sampler_plot import save
        save(chosen, plot)
    print(json.dumps([asdict(each) for each in descriptions], indent=2) if as_json else as_text(descriptions))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Show versions, which providers work, and why others do not."""
    from .doctor import as_text, examine

    report = examine()
    print(json.dumps(report, indent=2) if as_json else as_text(report))
    if report["problems"]:
        sys.exit(1)


for command in (generate, batch, serve, ray_config, pull, list_packages, remove, push):
    cli.add_command(command)


def main() -> None:
    """Run the command line; an expected error prints one line and sets the exit status."""
    open_streams()
    warnings.showwarning = _show_warning
    warnings.filterwarnings("ignore", module="PIL")  # of metadata that is not used
    silence_log()
    given = Flags()
    try:
        try:
            status = cli.main(standalone_mode=False, obj=given)
        finally:
            flush_stdout()
        sys.exit(status)
    except click.ClickException as error:  # wrong use, with click's message
        fail(error.format_message(), error.exit_code)
    except TriptychError as error:
        if given.debug:
            raise
        fail(str(error), error.exit_status)
    except OSError as error:  # of a file that no command checks
        if given.debug:
            raise
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{system_reason(error)}", TriptychError.exit_status)
    except click.Abort:
        fail("interrupted", INTERRUPTED)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print_line(f"warning: {message}")
