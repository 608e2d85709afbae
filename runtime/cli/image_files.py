"""Image files of the command line, and a progress bar while images are generated."""

import errno
import itertools
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import numpy as np
from PIL.Image import Image
from tqdm import tqdm

from ..errors import ArgumentError, ReproductionWarning, TriptychWarning, system_reason
from ..image.pixels import contact_sheet, read_settings
from ..image.settings import Settings
from ..ort.device import open_device
from ..package.graphs import Components
from ..package.model import Model
from ..package.package import open_package
from ..pipeline import Output, TextToImage
from ..plan import plan
from ..request import Request
from ..sampling import Step
from ..tasks.interpolation import walk
from ..tasks.upscaling import passes, upscaled

_SLUG_LENGTH = 40  # characters of the prompt in a file's name
_TEMPORARY = ".tmp"


@dataclass(frozen=True)
class Files:
    """The files that a command writes.

    Attributes:
        out: a folder for the images, or a file name that ends in .png.
        latents: a file name that ends in .npy, or None.
        grid: also write a contact sheet.
    """

    out: Path
    latents: Path | None = None
    grid: bool = False

    def check(self) -> None:
        """Raise an error for paths that cannot be written, before anything is computed.

        Raises:
            ArgumentError: a path cannot be written; the message names it.
        """
        _check_writable("--out", self.out, self.out.parent if self.out.suffix.lower() == ".png" else self.out)
        if self.latents is not None:
            _check_writable("--save-latents", self.latents, self.latents.parent)


def generate(
    package: Path,
    source: Sequence[Request] | Path,
    load_options: Mapping[str, Any],
    files: Files,
    *,
    upscale: float | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[Path]:
    """Generate the images of each request and yield the files as they are written.

    Every request without a seed starts from the same drawn seed, so that each column of a contact sheet has one seed.

    Args:
        package: folder of ONNX graphs.
        source: requests of one prompt each; or a PNG, whose stored settings are used.
        load_options: arguments of `TextToImage.load`.
        files: the files to write.
        upscale: factor of `upscaling.upscaled`, or None.
        report: called with lines of text: the device in use, and the time taken.

    Raises:
        ArgumentError: a file cannot be written, or the PNG cannot be read; raised before anything is computed.
    """
    settings = read_settings(source) if isinstance(source, Path) else None
    requests = list(source) if not isinstance(source, Path) else []
    if settings is not None:
        arguments = settings.arguments()
        upscale = arguments.pop("upscale", None)
        requests = [Request(**arguments)]
    _check(package, requests, upscale)
    files.check()
    pipe = TextToImage.load(package, **load_options)
    report(f"{package} on {pipe.device.name} ({pipe.device.provider})")
    if settings is not None and settings.model_hash != pipe.package.fingerprint:
        text = f"{source} was generated with another package, {settings.model}; the image will differ"
        warnings.warn(text, ReproductionWarning, stacklevel=2)
    seed, variation_seeds = requests[0].seeds()[0], requests[0].variation_seeds()
    outputs: list[Output] = []
    for request in requests:
        if request.seed is None:
            request = replace(request, seed=seed)
        if request.variation_seed is None and variation_seeds is not None:
            request = replace(request, variation_seed=variation_seeds[0])
        output = _run(pipe, request, upscale)
        outputs.append(output)
        several = len(requests) * len(output.images) > 1
        for image, image_seed, settings_used in zip(output.images, output.seeds, output.settings, strict=True):
            yield _save(image, _name(files.out, settings_used.prompt, image_seed, several))
    if files.grid:
        prompts = [output.settings[0].prompt for output in outputs]
        yield _save(_sheet(prompts, outputs), _name(files.out, "grid", None, True))
    if files.latents is not None:
        yield _write(files.latents, lambda file: np.save(file, outputs[-1].latents))
    report(_summary(outputs))


def _check(package: Path, requests: Sequence[Request], upscale: float | None) -> None:
    """Raise an error for arguments that the package cannot use, with the package opened but nothing of it loaded.

    Raises:
        PackageError, ArgumentError, SamplerError: see `plan` and `upscaling.passes`.
    """
    opened = open_package(package)
    if opened.manifest.absent:  # only its graphs tell their inputs: they are loaded first, and checked then
        return
    model = Model.of(opened, Components(opened, open_device("cpu"), (), memory="low"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TriptychWarning)  # given again by the run
        for request in requests:
            if upscale is None:
                plan(request, model)
            else:
                passes(model, request, upscale)


def _run(pipe: TextToImage, request: Request, upscale: float | None) -> Output:
    """The images of a request, under a progress bar."""
    (prompt,) = {text.prompt for text in request.texts()}
    # disable=None: no bar where stderr is not a terminal
    with tqdm(desc=prompt[:_SLUG_LENGTH], unit="step", leave=False, disable=None) as bar:

        def advance(step: Step) -> None:
            if step.index == 0:
                bar.reset(step.total)
            bar.update()

        return pipe.generate(request, advance) if upscale is None else upscaled(pipe, request, upscale, advance)


def generate_walk(
    package: Path,
    request: Request,
    images: int,
    to_seed: int | None,
    load_options: Mapping[str, Any],
    out: Path,
    *,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[Path]:
    """Generate images from each prompt to the next and yield the numbered files as they are written.

    Args:
        package, load_options, report: see `generate`.
        request, images, to_seed: see `interpolation.walk`.
        out: see `Files`.

    Raises:
        ArgumentError: `out` cannot be written, or the walk has no second prompt and no second seed.
    """
    _check(package, [request], None)
    Files(out).check()
    pipe = TextToImage.load(package, **load_options)
    report(f"{package} on {pipe.device.name} ({pipe.device.provider})")
    outputs: list[Output] = []
    for output in tqdm(walk(pipe, request, images, to_seed), unit="image", leave=False, disable=None):
        yield _save(output.images[0], _name(out, f"walk {len(outputs):03}", None, True))
        outputs.append(output)
    report(_summary(outputs))


def _summary(outputs: Sequence[Output]) -> str:
    """Seconds by component, over all images."""
    seconds = {name: sum(output.timings[name] for output in outputs) for name in outputs[0].timings}
    count = sum(len(output.images) for output in outputs)
    parts = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items() if name != "total")
    return f"{count} image{'s' if count > 1 else ''} in {seconds['total']:.2f} s: {parts}"


def _sheet(prompts: Sequence[str], outputs: Sequence[Output]) -> Image:
    images = [image for output in outputs for image in output.images]
    seeds = [_label(each) for each in outputs[0].settings]
    return contact_sheet(images, len(seeds), row_labels=prompts, column_labels=seeds)


def _label(settings: Settings) -> str:
    """Heading of a column of a contact sheet."""
    variation = "" if settings.variation_seed is None else f", variation {settings.variation_seed}"
    return f"seed {settings.seed}{variation}"


def _name(out: Path, prompt: str, seed: int | None, several: bool) -> Path:
    """File of an image: `out` if it is a single file name, else a new name that does not exist yet."""
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
    return re.sub(r"\W+", "-", prompt.lower())[:_SLUG_LENGTH].strip("-") or "image"


def _check_writable(option: str, path: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if path != folder and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that the file system cannot encode
        raise ArgumentError(f"{option} {path}: cannot write there: {system_reason(error)}") from None


def _save(image: Image, path: Path) -> Path:
    return _write(path, lambda file: image.save(file, format="PNG"))


def _write(path: Path, write: Callable[[IO[bytes]], None]) -> Path:
    """Write a file atomically: under a temporary name, then renamed."""
    prefix = f".{crc32(os.fsencode(path.name)):08x}."  # short, whatever the length of the name
    temporary = path.with_name(f"{prefix}{os.getpid()}{_TEMPORARY}")
    try:
        _clear(path.parent, prefix)
        with temporary.open("wb") as file:
            write(file)
        os.replace(temporary, path)
    except BaseException as error:  # an interruption, too, leaves nothing half written
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError | UnicodeError):
            raise
        raise ArgumentError(f"{path} cannot be written: {system_reason(error)}") from None
    return path


def _clear(folder: Path, prefix: str) -> None:
    """Delete the temporary files of processes that were killed."""
    for file in folder.glob(f"{prefix}*{_TEMPORARY}"):
        process = file.name.removeprefix(prefix).removesuffix(_TEMPORARY)
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except (ValueError, OverflowError, OSError):  # not of this command, or of another user
            continue
