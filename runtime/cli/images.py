"""`triptych generate` and `triptych batch`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import ArgumentError
from ..extras import needed
from ..request import Request
from . import completion
from .image_files import Files
from .options import IMAGE_OPTIONS, imaging, loading, walking, writing
from .output import fail, print_status
from .sheet import Sheet
from .values import DEFAULT_PACKAGE, package_and_prompts, with_lines
from .wording import in_option_words

if TYPE_CHECKING:
    from .generation import Written

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("words", nargs=-1, metavar="[PACKAGE] PROMPT...", shell_complete=completion.first_package)
@imaging
@walking
@click.option(
    "--upscale",
    type=float,
    metavar="FACTOR",
    help='Resize the image and refine it at --strength, 0.5 if left out, with the same graphs ("hires fix").',
)
@loading
@writing
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per image to stdout, and nothing else.")
@click.option(
    "--prompts",
    "prompts_file",
    type=_PATH,
    metavar="FILE",
    help="File of more PROMPTs, one per line; - is standard input.",
)
@click.option(
    "--package",
    "named",
    type=_PATH,
    shell_complete=completion.packages,
    help="PACKAGE as an option; all arguments are then PROMPTs.",
)
@click.option(
    "--from-image", type=_PATH, metavar="FILE", help="Generate an image again, from the settings in its file."
)
def generate(
    words: tuple[str, ...],
    arguments: dict[str, Any],
    walk: dict[str, Any],
    upscale: float | None,
    load: dict[str, Any],
    files: Files,
    as_json: bool,
    prompts_file: Path | None,
    named: Path | None,
    from_image: Path | None,
) -> None:
    """Generate images from prompts, as PNGs or JPEGs with their settings inside.

    In a PROMPT, (words:1.3) and (words) raise the weight, [words] lowers it, and BREAK starts a new chunk. A PROMPT of
    - reads prompts from standard input, one per line.

    PACKAGE is a folder, or the name of a pulled package. If left out, it is models/emoji-package, if that exists.

    With --grid, --scheduler and --guidance take several values, separated by commas: each of them becomes an axis of
    the contact sheet, as do several PROMPTs and the images of --num. A sheet has at most two axes.

    Without --force, no file is replaced: images in a folder get new names, and an existing file name is refused.

    With --json, each object has file, seed, settings and timings. Timings are seconds per component for all images of
    one call.
    """
    has_more = prompts_file is not None
    package, prompts = package_and_prompts(list(words), named, from_image, has_more=has_more)
    prompts = with_lines(prompts, prompts_file)
    if package == DEFAULT_PACKAGE:
        print_status(f"package: {package}")
    if from_image is not None:
        _check_only_settings()
    elif "walk" in walk:
        if arguments["num_images_per_prompt"] > 1 or files.grid or files.latents is not None or upscale is not None:
            raise ArgumentError("--walk cannot be combined with --num, --grid, --upscale or --save-latents")
        if len(prompts) < 2 and "to_seed" not in walk:
            raise ArgumentError("a walk needs two PROMPTs or two seeds; give a second PROMPT, or --to-seed")
    elif walk:
        raise ArgumentError("--to-seed is the end of a walk; add --walk")
    _check_latents(arguments, prompts, files.latents)
    from .generation import Job, generate_walk, read_job
    from .generation import generate as run

    if from_image is not None:
        job, requests = read_job(package, load, files, from_image)
        sheet = Sheet([str(requests[0].prompt)])
    else:
        job, requests = Job(package, load, files, upscale), []
        sheet = Sheet.of(prompts, arguments, grid=files.grid)
        if files.latents is not None and len(sheet.details()) > 1:
            raise ArgumentError("--save-latents is for one PROMPT, one scheduler and one guidance scale")
    with in_option_words():
        if "walk" in walk:
            paths = generate_walk(job, Request(prompts, **arguments), walk["walk"], walk.get("to_seed"))
        else:
            paths = run(job, requests or sheet.requests(arguments), sheet)
        for written in paths:
            _print(written, as_json=as_json)


def _print(written: "Written", *, as_json: bool) -> None:
    """Print a file that was written: its path, or for an image a JSON object."""
    if not as_json:
        print(written.path, flush=True)
    elif written.settings is None:  # a contact sheet, or latents
        print_status(str(written.path))
    else:
        settings = json.loads(written.settings.to_json())
        facts = {"file": str(written.path), "seed": written.settings.seed, "settings": settings}
        print(json.dumps(facts | {"timings": dict(written.timings)}), flush=True)


def _check_only_settings() -> None:
    """Raise an error for options given with --from-image, whose settings would not be those of the image."""
    context = click.get_current_context()
    given = [
        max(each.opts, key=len)
        for each in context.command.params
        if each.name in (*IMAGE_OPTIONS, "walk", "to_seed", "upscale", "prompts_file")
        and context.get_parameter_source(str(each.name)) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise ArgumentError(f"--from-image uses the settings of the image; leave {' and '.join(given)} out")


def _check_latents(arguments: dict[str, Any], prompts: list[str], save_latents: Path | None) -> None:
    """Check the options for latents; with --denoising-start, --latents are the image to resume from."""
    if save_latents is not None and save_latents.suffix != ".npy":
        raise ArgumentError(f"--save-latents {save_latents}: give a name that ends in .npy")
    for option, is_given in (("--latents", "latents" in arguments), ("--save-latents", save_latents is not None)):
        if is_given and len(prompts) > 1:
            raise ArgumentError(f"{option} is for one PROMPT, not {len(prompts)}")
    if "denoising_start" in arguments and "image" not in arguments and "latents" in arguments:
        arguments["image"] = arguments.pop("latents")


@click.command()
@click.argument("package", type=_PATH, shell_complete=completion.packages)
@click.argument("jobs", type=_PATH)
@click.argument("out", type=_PATH)
@click.option(
    "--batch",
    "size",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Maximum number of images in a call.",
)
@click.option("--overwrite", is_flag=True, help="Replace images whose row or package has changed.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run in this process, or on Ray.",
)
@click.option("--address", help="With --engine ray: address of the cluster; if left out, one is started here.")
@click.option(
    "--cpus-per-actor",
    type=click.IntRange(min=1),
    help="With --engine ray: CPUs per actor; if left out, one GPU per actor, or all CPUs if there is no GPU.",
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
    """Generate the images of JOBS, a .jsonl, .csv or .parquet file, and write a table of results.

    A row has an id, a prompt and any settings, named as the arguments in Python, such as seed, width and
    num_inference_steps. OUT is a folder for results.jsonl and the images, which are named by id, or a .parquet file
    that holds both. A second run generates only images that are missing or failed.
    """
    from ..batch.run import batch as run
    from ..batch.run import here

    if engine == "ray":
        with needed("ray", "`triptych batch --engine ray`"):
            from ..batch.ray_engine import on_ray
        engine_run = on_ray(package, load, jobs.parent, print_status, address=address, cpus_per_actor=cpus_per_actor)
    elif address is not None or cpus_per_actor is not None:
        raise ArgumentError("--address and --cpus-per-actor are for --engine ray")
    else:
        engine_run = here(package, load, jobs.parent, print_status)
    summary = run(package, jobs, out, engine_run, size=size, overwrite=overwrite)
    print(summary.out)
    done = f"{summary.done} done, {summary.before} of them before"
    if summary.failed:
        fail(f"{summary.failed} rows failed, see {summary.out}; {done}", 1)
    print_status(done)
