"""`triptych generate` and `triptych batch`."""

from pathlib import Path
from typing import Any

import click

from ..errors import ArgumentError, TriptychError
from ..request import Request
from .options import imaging, loading, walking
from .output import fail, print_status
from .values import DEFAULT_PACKAGE, package_and_prompts

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("words", nargs=-1, metavar="[PACKAGE] PROMPT...")
@imaging
@walking
@click.option(
    "--upscale",
    type=float,
    metavar="FACTOR",
    help='Resize the image and refine it at --strength, 0.5 if left out, with the same graphs ("hires fix").',
)
@loading
@click.option("--out", type=_PATH, default=Path(), help="Folder, or a name that ends in .png.")
@click.option("--save-latents", type=_PATH, metavar="FILE.npy", help="Also write the latents, for --latents.")
@click.option("--grid", is_flag=True, help="Also write a contact sheet.")
@click.option("--package", "named", type=_PATH, help="PACKAGE by name: every word is a PROMPT then.")
@click.option("--from-image", type=_PATH, help="Generate an image again from the settings in its PNG.")
def generate(
    words: tuple[str, ...],
    arguments: dict[str, Any],
    walk: dict[str, Any],
    upscale: float | None,
    load: dict[str, Any],
    out: Path,
    save_latents: Path | None,
    grid: bool,
    named: Path | None,
    from_image: Path | None,
) -> None:
    """Generate images from prompts, as PNGs that carry their settings.

    In a PROMPT, (words:1.3) and (words) raise the weight, [words] lowers it, and BREAK starts a new chunk.

    PACKAGE is a folder. It may be left out where models/emoji-package exists.
    """
    package, prompts = package_and_prompts(list(words), named, from_image)
    if package == DEFAULT_PACKAGE:
        print_status(f"package: {package}")
    from .image_files import Files, generate_walk
    from .image_files import generate as run

    _check_latents(arguments, prompts, save_latents)
    files = Files(out, save_latents, grid)
    if "walk" not in walk:
        if walk:
            raise ArgumentError("--to-seed is the end of a walk; add --walk")
        source = from_image or [Request(prompt, **arguments) for prompt in prompts]
        paths = run(package, source, load, files, upscale=upscale, report=print_status)
    else:
        if arguments["num_images_per_prompt"] > 1 or grid or from_image or upscale is not None or save_latents:
            raise ArgumentError(
                "--walk cannot be combined with --num, --grid, --from-image, --upscale or --save-latents"
            )
        request = Request(prompts, **arguments)
        paths = generate_walk(package, request, walk["walk"], walk.get("to_seed"), load, out, report=print_status)
    for path in paths:
        print(path)


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
@click.argument("package", type=_PATH)
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
@click.option("--overwrite", is_flag=True, help="Generate images again whose row or package has changed.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run in this process, or on Ray.",
)
@click.option("--address", help="With --engine ray: address of the cluster; one is started if left out.")
@click.option(
    "--cpus-per-actor",
    type=click.IntRange(min=1),
    help="With --engine ray: CPUs of each actor; if left out, a GPU each, or, without GPUs, all CPUs of a machine.",
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

    A row has an id, a prompt, and any settings under the names of the arguments in Python, such as seed, width and
    num_inference_steps. OUT is a folder, with images named by id and results.jsonl, or a name that ends in .parquet,
    which holds both. A second run generates only images that are missing or failed.
    """
    from ..batch.run import batch as run
    from ..batch.run import here

    if engine == "ray":
        try:
            from ..batch.ray_engine import on_ray
        except ImportError as error:
            raise TriptychError(f"`triptych batch --engine ray` needs triptych[ray]: {error}") from None
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
