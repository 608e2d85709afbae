"""Images of a command: checked, generated under a progress bar, and written as they are done."""

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from ..errors import ReproductionWarning, TriptychWarning
from ..image.pixels import read_settings
from ..image.settings import Settings
from ..ort.device import open_device
from ..ort.probe import available_providers
from ..ort.providers import PROVIDERS
from ..package.defaults_in_use import defaults_in_use
from ..package.graphs import Components
from ..package.model import Model
from ..package.package import open_package
from ..pipeline import Output, TextToImage
from ..plan import Plan, plan
from ..request import Request
from ..sampling import Step
from ..tasks.interpolation import walk
from ..tasks.upscaling import passes, upscaled
from .estimate import TimeEstimate, memory_line
from .flags import is_quiet
from .image_files import SLUG_LENGTH, Files
from .output import print_status
from .sheet import Sheet


class Recorded(NamedTuple):
    """The settings in an image file."""

    file: Path
    settings: Settings


class Written(NamedTuple):
    """A file, and for an image its settings, with the seconds by component of the call that made it."""

    path: Path
    settings: Settings | None = None
    timings: Mapping[str, float] = {}


@dataclass(frozen=True)
class Job:
    """A command that generates images.

    Attributes:
        package: folder of ONNX graphs.
        load: arguments of `TextToImage.load`.
        files: the files to write.
        upscale: factor of `upscaling.upscaled`, or None.
        recorded: the settings that the image is generated from again, or None.
    """

    package: Path
    load: Mapping[str, Any]
    files: Files
    upscale: float | None = None
    recorded: Recorded | None = None

    def open(self, request: Request) -> TextToImage:
        """Load the package, and print the device and the defaults in use."""
        pipe = TextToImage.load(self.package, **self.load)
        print_status(f"{self.package} on {pipe.device.name} ({pipe.device.provider})")
        if self.recorded is not None and self.recorded.settings.model_hash != pipe.package.fingerprint:
            file, settings = self.recorded
            text = f"{file} was generated with another package, {settings.model}; the image will differ"
            warnings.warn(text, ReproductionWarning, stacklevel=2)
        line = defaults_in_use(request, pipe.model)
        if line is not None:
            print_status(line)
        return pipe


def read_job(package: Path, load: Mapping[str, Any], files: Files, image: Path) -> tuple[Job, list[Request]]:
    """The command and the request that generate an image again from the settings in its file.

    Args:
        package, load, files: see `Job`.
        image: a PNG or a JPEG that Triptych wrote.

    Raises:
        ArgumentError: the file cannot be read, has no settings, or its settings do not describe the whole image.
    """
    settings = read_settings(image)
    arguments = settings.arguments()
    upscale = arguments.pop("upscale", None)
    return Job(package, load, files, upscale, Recorded(image, settings)), [Request(**arguments)]


def generate(job: Job, requests: Sequence[Request], sheet: Sheet) -> Iterator[Written]:
    """Generate the images of each request and yield the files as they are written.

    Every request without a seed starts from the same drawn seed, so that each column of a contact sheet has one seed.

    Args:
        job: the command.
        requests: of one prompt each.
        sheet: the order of the requests, for a contact sheet.

    Raises:
        TriptychError: arguments that the package cannot use, or a file that cannot be written; raised before anything
            is computed.
    """
    plans = _check(job, requests)
    total = sum(request.count for request in requests)
    job.files.check(total)
    if plans and _runs_on_the_cpu(job):
        line = memory_line(plans[0], job.load["memory"])
        if line is not None:
            print_status(line)
    pipe = job.open(requests[0])
    seed, variation_seeds = requests[0].seeds()[0], requests[0].variation_seeds()
    kept: list[Output] = []
    timings: list[Mapping[str, float]] = []
    estimate = TimeEstimate(len(requests), total) if job.upscale is None else None
    for request, detail in zip(requests, sheet.details(), strict=True):
        if request.seed is None:
            request = replace(request, seed=seed)
        if request.variation_seed is None and variation_seeds is not None:
            request = replace(request, variation_seed=variation_seeds[0])
        output = _run(pipe, request, job.upscale, estimate)
        timings.append(output.timings)
        for image, image_seed, settings in zip(output.images, output.seeds, output.settings, strict=True):
            path = job.files.name_of(settings.prompt, image_seed, several=total > 1, detail=detail)
            yield Written(job.files.save(image, path, settings), settings, output.timings)
        if job.files.grid:
            kept.append(output)
        if job.files.latents is not None:
            yield Written(job.files.save_latents(output.latents, job.files.latents))
    if kept:
        images, settings_of_all = zip(*((each.images, each.settings) for each in kept), strict=True)
        drawn = sheet.draw([*chain(*images)], [*chain(*settings_of_all)])
        yield Written(job.files.save(drawn, job.files.name_of("grid", None, several=True)))
    print_status(_summary(total, timings))


def generate_walk(job: Job, request: Request, images: int, to_seed: int | None) -> Iterator[Written]:
    """Generate images from each prompt to the next and yield the numbered files as they are written.

    Args:
        job: the command.
        request, images, to_seed: see `interpolation.walk`.

    Raises:
        TriptychError: see `generate`.
    """
    _check(job, [request])
    job.files.check(images)
    pipe = job.open(request)
    timings: list[Mapping[str, float]] = []
    outputs = walk(pipe, request, images, to_seed)
    for number, output in enumerate(tqdm(outputs, unit="image", leave=False, disable=_no_bar())):
        path = job.files.name_of(f"walk {number:03}", None, several=True)
        timings.append(output.timings)
        yield Written(job.files.save(output.images[0], path, output.settings[0]), output.settings[0], output.timings)
    print_status(_summary(len(timings), timings))


def _check(job: Job, requests: Sequence[Request]) -> list[Plan]:
    """Check arguments with the package opened but nothing of it loaded, and return what the requests will do.

    None of a package without manifest, whose graphs show their inputs only once they are loaded.

    Raises:
        PackageError, ArgumentError, SamplerError: see `plan` and `upscaling.passes`.
    """
    opened = open_package(job.package)
    if opened.manifest.absent:  # only its graphs have their inputs: they are loaded first, and checked then
        return []
    model = Model.of(opened, Components(opened, open_device("cpu"), (), memory="low"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TriptychWarning)  # given again by the run
        if job.upscale is None:
            return [plan(request, model) for request in requests]
        return [plan(passes(model, request, job.upscale)[1], model) for request in requests]


def _runs_on_the_cpu(job: Job) -> bool:
    device = job.load["device"]
    return device == "cpu" or (device == "auto" and PROVIDERS["cuda"] not in available_providers())


def _run(pipe: TextToImage, request: Request, upscale: float | None, estimate: TimeEstimate | None) -> Output:
    """The images of a request, under a progress bar; the time of all images is printed if they take long."""
    (prompt,) = {text.prompt for text in request.texts()}
    with tqdm(desc=prompt[:SLUG_LENGTH], unit="step", leave=False, disable=_no_bar()) as bar:

        def advance(step: Step) -> None:
            if step.index == 0:
                bar.reset(step.total)
            bar.update()
            line = None if estimate is None else estimate.after(step)
            if line is not None:
                with tqdm.external_write_mode(file=sys.stderr):
                    print_status(line)

        return pipe.generate(request, advance) if upscale is None else upscaled(pipe, request, upscale, advance)


def _no_bar() -> bool | None:
    """Tqdm's `disable`: None for no bar where stderr is not a terminal."""
    return True if is_quiet() else None


def _summary(images: int, timings: Sequence[Mapping[str, float]]) -> str:
    """Seconds by component, over all images."""
    seconds = {name: sum(each[name] for each in timings) for name in timings[0]}
    parts = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items() if name != "total")
    return f"{images} image{'s' if images > 1 else ''} in {seconds['total']:.2f} s: {parts}"
