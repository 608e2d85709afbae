"""Pictures from the command line: progress while they are made, files when they are done."""

import itertools
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image
from tqdm import tqdm

from ..errors import ArgumentError, ReproductionWarning
from ..image.pixels import contact_sheet, read_settings
from ..pipeline import Output, TextToImage
from ..sampling import Step
from ..tasks.interpolation import walk
from ..tasks.upscaling import upscaled

_SLUG_LENGTH = 40  # characters of the prompt in a file's name


def generate(
    package: Path,
    prompts: Sequence[str],
    arguments: Mapping[str, Any],
    load_options: Mapping[str, Any],
    out: Path,
    *,
    grid: bool = False,
    from_image: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[Path]:
    """Make the pictures of each prompt and yield the files as they are written.

    Every prompt starts from the same seed, so that a contact sheet has a seed a column.

    Args:
        package: folder of ONNX graphs.
        prompts: one call of the pipeline for each.
        arguments: of `TextToImage.__call__`, or of `upscaling.upscaled` with `upscale`.
        load_options: of `TextToImage.load`.
        out: a folder, or a file's name that ends in .png.
        grid: also write a contact sheet.
        from_image: a PNG whose own settings are used in place of `prompts` and `arguments`.
        report: called with a line of text about the device in use, and about the time taken.

    Raises:
        ArgumentError: `out` cannot be written to, or `from_image` not read; told before anything is computed.
    """
    settings = None if from_image is None else read_settings(from_image)
    _check_writable(out)
    pipe = TextToImage.load(package, **load_options)
    report(f"{package} on {pipe.device.name} ({pipe.device.provider})")
    if settings is not None:
        prompts, arguments = [settings.prompt], settings.arguments()
        if settings.model_hash != pipe.package.fingerprint:
            warnings.warn(
                f"{from_image} was made by another package, {settings.model}: expect another picture",
                ReproductionWarning,
                stacklevel=2,
            )
    outputs: list[Output] = []
    for prompt in prompts:
        # disable=None: no bar where stderr is no terminal
        with tqdm(desc=prompt[:_SLUG_LENGTH], unit="step", leave=False, disable=None) as bar:

            def advance(step: Step, bar: tqdm = bar) -> None:
                if step.index == 0:
                    bar.reset(step.total)
                bar.update()

            if outputs and arguments["seed"] is None:  # a drawn seed serves all prompts
                arguments = {**arguments, "seed": outputs[0].seeds[0]}
            asked = {**arguments, "prompt": prompt, "callback": advance}
            outputs.append(upscaled(pipe, **asked) if "upscale" in asked else pipe(**asked))
        several = len(prompts) * len(outputs[-1].images) > 1
        for image, seed in zip(outputs[-1].images, outputs[-1].seeds, strict=True):
            yield _save(image, _name(out, prompt, seed, several))
    if grid:
        yield _save(_sheet(prompts, outputs), _name(out, "grid", None, True))
    report(_summary(outputs))


def generate_walk(
    package: Path,
    prompts: Sequence[str],
    arguments: Mapping[str, Any],
    load_options: Mapping[str, Any],
    out: Path,
    *,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[Path]:
    """Make pictures on the way from each prompt to the next and yield the files, which count up, as they are written.

    Args:
        package, prompts, load_options, out, report: see `generate`.
        arguments: of `interpolation.walk`.

    Raises:
        ArgumentError: `out` cannot be written to, or a walk that leads nowhere.
    """
    _check_writable(out)
    pipe = TextToImage.load(package, **load_options)
    report(f"{package} on {pipe.device.name} ({pipe.device.provider})")
    outputs: list[Output] = []
    for output in tqdm(walk(pipe, prompts, **arguments), unit="picture", leave=False, disable=None):
        yield _save(output.images[0], _name(out, f"walk {len(outputs):03}", None, True))
        outputs.append(output)
    report(_summary(outputs))


def _summary(outputs: Sequence[Output]) -> str:
    """Seconds by component, over all pictures."""
    seconds = {name: sum(output.timings[name] for output in outputs) for name in outputs[0].timings}
    count = sum(len(output.images) for output in outputs)
    parts = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items() if name != "total")
    return f"{count} picture{'s' if count > 1 else ''} in {seconds['total']:.2f} s: {parts}"


def _sheet(prompts: Sequence[str], outputs: Sequence[Output]) -> Image:
    images = [image for output in outputs for image in output.images]
    seeds = [f"seed {seed}" for seed in outputs[0].seeds]
    return contact_sheet(images, len(seeds), row_labels=prompts, column_labels=seeds)


def _name(out: Path, prompt: str, seed: int | None, several: bool) -> Path:
    """Where a picture goes: `out` itself if it names one file, else a name that is not taken yet."""
    suffix = "" if seed is None else f"-{seed}"
    if out.suffix.lower() == ".png":
        if not several:
            return out
        folder, stem = out.parent, f"{out.stem}-{_slug(prompt)}{suffix}"
    else:
        folder, stem = out, _slug(prompt) + suffix
    names = itertools.chain([f"{stem}.png"], (f"{stem}-{n}.png" for n in itertools.count(2)))
    return next(folder / name for name in names if not (folder / name).exists())


def _slug(prompt: str) -> str:
    return re.sub(r"\W+", "-", prompt.lower())[:_SLUG_LENGTH].strip("-") or "picture"


def _check_writable(out: Path) -> None:
    folder = out.parent if out.suffix.lower() == ".png" else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ArgumentError(f"--out {out}: cannot write there: {error.strerror}") from None


def _save(image: Image, path: Path) -> Path:
    """Write whole or not at all: under a temporary name first."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        image.save(temporary, format="PNG")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ArgumentError(f"{path} cannot be written: {error.strerror}") from None
    return path
