"""`triptych generate` and `triptych batch`."""

from pathlib import Path
from typing import Any

import click

from ..errors import ArgumentError, TriptychError
from .options import HEIGHT, WIDTH, beginning, conditioning, loading, walking
from .output import fail, say
from .values import Numbers, package_and_prompts

_PATH = click.Path(path_type=Path)


@click.command()
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
    from .image_files import generate as run
    from .image_files import generate_walk

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
        paths = run(package, prompts, arguments, load, out, grid=grid, from_image=from_image, report=say)
    else:
        if num > 1 or grid or from_image is not None or upscale is not None:
            raise ArgumentError(
                "--walk makes a picture at each place: leave --num, --grid, --from-image and --upscale out"
            )
        paths = generate_walk(package, prompts, arguments | walk, load, out, report=say)
    for path in paths:
        print(path)


@click.command()
@click.argument("package", type=_PATH)
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
    from ..batch.run import batch as run
    from ..batch.run import here

    if engine == "ray":
        try:
            from ..batch.ray_engine import on_ray
        except ImportError as error:
            raise TriptychError(f"`triptych batch --engine ray` needs triptych[ray]: {error}") from None
        chosen = on_ray(package, load, jobs.parent, say, address=address, cpus_per_actor=cpus_per_actor)
    elif address is not None or cpus_per_actor is not None:
        raise ArgumentError("--address and --cpus-per-actor are for --engine ray")
    else:
        chosen = here(package, load, jobs.parent, say)
    summary = run(package, jobs, out, chosen, size=size, overwrite=overwrite)
    print(summary.out)
    done = f"{summary.done} done, {summary.before} of them before"
    if summary.failed:
        fail(f"{summary.failed} rows failed, {summary.out} says why; {done}", 1)
    say(done)
