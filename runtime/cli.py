"""The command line: `triptych export | generate | batch | serve | ray-config | bench | inspect | schedulers | doctor`.

Results go to stdout, progress and summaries to stderr. Exit status: 0 done, 1 failed, 2 wrong use or bad input.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import click

from .cli_options import HEIGHT, WIDTH, beginning, calibrating, conditioning, loading, sourcing, walking
from .cli_serve import ray_config, serve
from .cli_values import Numbers, package_and_prompts, size_of
from .errors import ArgumentError, TriptychError

_INTERRUPTED = 130  # what shells report of a command that Ctrl-C ended

_PATH = click.Path(path_type=Path)
_PACKAGE = click.argument("package", type=_PATH)


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="triptych")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Text to image in three ONNX graphs: export once, run on numpy and ONNX Runtime alone."""


@cli.command()
@click.argument("source")
@click.argument("package", type=_PATH)
@click.option("--precision", default="fp32", show_default=True, help="fp32, fp16, int8, w8 or w4.")
@click.option("--dialect", help="Whose operators: portable, cpu or cuda; this machine's if left out.")
@click.option("--static", metavar="WIDTHxHEIGHT", help="Fix the size of pictures.")
@click.option(
    "--batch", default=2, show_default=True, help="With --static: rows of a U-Net call; 2 is one picture with guidance."
)
@sourcing
@click.option("--force", is_flag=True, help="Replace PACKAGE once the new one is whole.")
@calibrating
def export(
    source: str,
    package: Path,
    precision: str,
    dialect: str | None,
    static: str | None,
    batch: int,
    origin: dict[str, Any],
    force: bool,
    calibration: dict[str, Any],
) -> None:
    """Turn SOURCE into a PACKAGE of verified ONNX graphs.

    SOURCE is a diffusers folder, a .safetensors file as community sites have it, or a hub id.
    """
    try:
        from triptych.export import CalibrationRun
        from triptych.export import export as run
    except ImportError as error:
        raise TriptychError(f"`triptych export` needs triptych[export]: {error}") from None
    width, height = (0, 0) if static is None else size_of("--static", static)
    shape = None if static is None else (batch, height, width)
    print(
        run(
            source,
            package,
            precision=precision,
            dialect=dialect,
            static=shape,
            force=force,
            calibration=CalibrationRun(**calibration) if calibration else None,
            report=_say,
            **origin,
        )
    )


@cli.command()
@click.argument("words", nargs=-1, metavar="[PACKAGE] PROMPT...")
@click.option("--steps", type=int, help="Steps of the scheduler; 50 (LCM 4, InstructPix2Pix 100) if left out.")
@click.option(
    "--guidance",
    type=Numbers(single=True),
    metavar="SCALE",
    help="Guidance, 1 is none; 7.5 (SDXL 5, LCM 8.5) if left out. With commas, a scale for each network call.",
)
@click.option(
    "--guidance-interval",
    type=Numbers(),
    metavar="LOW,HIGH",
    help="Guide only where sigma is between them, such as 0.28,5.42; elsewhere a call costs half.",
)
@click.option(
    "--guidance-rescale", default=0.0, show_default=True, help="Against overexposure, such as 0.7; from 0 to 1."
)
@click.option("--seed", type=int, help="Seed of the first picture; drawn if left out.")
@click.option("--negative", help="What to avoid.")
@click.option("--scheduler", help="In place of the package's own, by name: see `triptych schedulers`.")
@click.option("--eta", default=0.0, show_default=True, help="New noise, for schedulers that take it; from 0 to 1.")
@click.option(
    "--timesteps", type=Numbers(names=True), metavar="LIST", help="In place of --steps, or ays_sd15, ays_sdxl."
)
@click.option("--sigmas", type=Numbers(names=True), metavar="LIST", help="Likewise as noise levels, or ays_svd too.")
@WIDTH
@HEIGHT
@conditioning
@beginning
@walking
@click.option(
    "--upscale",
    type=float,
    metavar="FACTOR",
    help='Scale the picture up and draw over it at --strength, 0.5 if left out, with the same graphs ("hires fix").',
)
@click.option("--num", default=1, show_default=True, help="Pictures of each prompt, seeds counting up.")
@click.option("--noise", default="torch", show_default=True, help="torch, torch_cuda or numpy.")
@loading
@click.option("--out", type=_PATH, default=Path(), help="Folder, or a name that ends in .png.")
@click.option("--grid", is_flag=True, help="Also write a contact sheet.")
@click.option("--from-image", type=_PATH, help="Repeat a picture from its own settings.")
def generate(
    words: tuple[str, ...],
    steps: int | None,
    guidance: float | list[float] | None,
    guidance_interval: list[float] | None,
    guidance_rescale: float,
    seed: int | None,
    negative: str | None,
    scheduler: str | None,
    eta: float,
    timesteps: list[float] | str | None,
    sigmas: list[float] | str | None,
    width: int | None,
    height: int | None,
    conditioning: dict[str, Any],
    beginning: dict[str, Any],
    walk: dict[str, Any] | None,
    upscale: float | None,
    num: int,
    noise: str,
    load: dict[str, Any],
    out: Path,
    grid: bool,
    from_image: Path | None,
) -> None:
    """Make pictures from prompts, as PNGs that carry their settings.

    In a PROMPT, (words:1.3) and (words) count for more, [words] for less, and BREAK begins a new chunk.

    PACKAGE may be left out where models/emoji-package exists.
    """
    package, prompts = package_and_prompts(list(words), from_image)
    from .generate import generate as run
    from .generate import generate_walk

    arguments = {
        "negative_prompt": negative,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "guidance_interval": guidance_interval,
        "guidance_rescale": guidance_rescale,
        "seed": seed,
        "height": height,
        "width": width,
        "num_images_per_prompt": num,
        "scheduler": scheduler,
        "eta": eta,
        "timesteps": timesteps,
        "sigmas": sigmas,
        "noise": noise,
        **conditioning,
        **beginning,
        **({} if upscale is None else {"upscale": upscale}),
    }
    if walk is None:
        paths = run(package, prompts, arguments, load, out, grid=grid, from_image=from_image, report=_say)
    else:
        if num > 1 or grid or from_image is not None or upscale is not None:
            raise ArgumentError(
                "--walk makes a picture at each place: leave --num, --grid, --from-image and --upscale out"
            )
        paths = generate_walk(package, prompts, arguments | walk, load, out, report=_say)
    for path in paths:
        print(path)


@cli.command()
@_PACKAGE
@click.argument("jobs", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--batch", "size", type=click.IntRange(min=1), default=4, show_default=True, help="Pictures of one call.")
@click.option("--overwrite", is_flag=True, help="Make pictures anew whose row or package is another than before.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="What runs it.")
@click.option("--address", help="With --engine ray: of the cluster; one is started if left out.")
@click.option(
    "--cpus-per-actor",
    type=click.IntRange(min=1),
    help="With --engine ray: if left out, each actor has a GPU, or, without GPUs, all CPUs of a machine.",
)
@loading
def batch(
    package: Path,
    jobs: Path,
    out: Path,
    size: int,
    overwrite: bool,
    engine: str,
    address: str | None,
    cpus_per_actor: int | None,
    load: dict[str, Any],
) -> None:
    """Make the pictures of JOBS, a .jsonl, .csv or .parquet file, and say in a table what became of each.

    A row has an id, a prompt, and any settings under the names of the arguments in Python, such as seed, width and
    num_inference_steps. OUT is a folder, with pictures named by id and results.jsonl, or a name that ends in .parquet,
    which holds both. Run again, it makes what is missing or failed, and nothing else.
    """
    from .service.batch import batch as run
    from .service.batch import here

    if engine == "ray":
        try:
            from .service.ray_batch import on_ray
        except ImportError as error:
            raise TriptychError(f"`triptych batch --engine ray` needs triptych[ray]: {error}") from None
        chosen = on_ray(package, load, jobs.parent, _say, address=address, cpus_per_actor=cpus_per_actor)
    elif address is not None or cpus_per_actor is not None:
        raise ArgumentError("--address and --cpus-per-actor are for --engine ray")
    else:
        chosen = here(package, load, jobs.parent, _say)
    summary = run(package, jobs, out, chosen, size=size, overwrite=overwrite)
    print(summary.out)
    done = f"{summary.done} done, {summary.before} of them before"
    if summary.failed:
        _fail(f"{summary.failed} rows failed, {summary.out} says why; {done}", 1)
    _say(done)


@cli.command()
@_PACKAGE
@loading
@click.option("--steps", default=20, show_default=True, help="Steps of the whole picture.")
@WIDTH
@HEIGHT
@click.option("--json", "json_file", type=_PATH, help="Write the figures as JSON.")
@click.option("--plot", type=_PATH, help="Draw the latency per component (PNG or SVG).")
@click.option("--against", metavar="NAME,...", help="Peers to take turns with: `python -m triptych.benchmarks.peers`.")
@click.option("--checkpoint", type=_PATH, help="With --against: the diffusers folder that PACKAGE came from.")
def bench(
    package: Path,
    load: dict[str, Any],
    steps: int,
    width: int | None,
    height: int | None,
    json_file: Path | None,
    plot: Path | None,
    against: str | None,
    checkpoint: Path | None,
) -> None:
    """Measure latency per component, or, with --against, beside other runtimes."""
    try:
        from triptych.benchmarks.bench import bench as run
        from triptych.benchmarks.peers.against import compare
    except ImportError as error:
        raise TriptychError(f"`triptych bench` needs triptych[bench]: {error}") from None
    if against is not None:
        compare(package, against.split(","), load, checkpoint=checkpoint, steps=steps, json_file=json_file, report=_say)
        return
    run(package, load, steps=steps, width=width, height=height, json_file=json_file, plot=plot, report=_say)


@cli.command()
@_PACKAGE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--verify", is_flag=True, help="Also read every file and compare its sha256.")
def inspect(package: Path, as_json: bool, verify: bool) -> None:
    """Show what a package holds."""
    from . import inspection
    from .package import open_package

    opened = open_package(package)
    verified = list(opened.verify()) if verify else []
    description = inspection.describe(opened)
    if as_json:
        print(json.dumps({**description, "verified": verified} if verify else description, indent=2))
        return
    print(inspection.as_text(description))
    if verify:
        print(f"verified: {len(verified)} files have the sha256 of the manifest")


@cli.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@click.option("--plot", type=_PATH, help="Draw their noise levels and coefficients (PNG or SVG).")
def schedulers(names: tuple[str, ...], as_json: bool, plot: Path | None) -> None:
    """Show what schedulers there are: all, or those of NAMES.

    Orders, network calls and noise are those of diffusers' defaults, but for what a short name stands for.
    """
    from dataclasses import asdict

    from . import schedulers as listing

    chosen = names or tuple(listing.names())
    descriptions = [listing.describe(name) for name in chosen]
    if plot is not None:
        try:
            from triptych.benchmarks.sampler_plot import save
        except ImportError as error:
            raise TriptychError(f"`triptych schedulers --plot` needs triptych[bench]: {error}") from None
        save(chosen, plot)
    print(json.dumps([asdict(each) for each in descriptions], indent=2) if as_json else listing.as_text(descriptions))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def doctor(as_json: bool) -> None:
    """Show versions, the providers that work, and why the others do not."""
    from .doctor import as_text, examine

    report = examine()
    print(json.dumps(report, indent=2) if as_json else as_text(report))
    if report["problems"]:
        sys.exit(1)


cli.add_command(serve)
cli.add_command(ray_config)


def main() -> None:
    """Run the command line; errors meant for the user become one line and their exit status."""
    warnings.showwarning = _show_warning
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:  # wrong use, in click's own words
        _fail(error.format_message(), error.exit_code)
    except TriptychError as error:
        if "--debug" in sys.argv[1:]:
            raise
        _fail(str(error), error.exit_status)
    except click.Abort:
        _fail("interrupted", _INTERRUPTED)


def _fail(message: str, status: int) -> NoReturn:
    _say(f"error: {message}")
    sys.exit(status)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"warning: {message}")
