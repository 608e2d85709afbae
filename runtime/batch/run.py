"""Run a file of jobs into a folder of images or one Parquet file; finished rows are not generated again."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import ArgumentError
from ..extras import needed
from ..package.defaults_in_use import defaults_in_use
from ..package.package import Package, open_package
from ..pipeline import TextToImage
from ..request import Request
from .generate import GeneratedImage, generate, units_of
from .results import Result, Results
from .rows import Row, listed, read

Engine = Callable[[Sequence[list[Row]]], Iterable[GeneratedImage]]
"""Generates the images of units of rows, in any order."""


@dataclass(frozen=True)
class Summary:
    """Path of the results, and the number of rows that are done, were done before this run, and failed."""

    out: Path
    done: int
    before: int
    failed: int


def batch(
    package: Path,
    jobs: Path,
    out: Path,
    engine: Engine,
    *,
    size: int = 4,
    overwrite: bool = False,
) -> Summary:
    """Generate the images that are missing or failed.

    Args:
        package: folder of ONNX graphs.
        jobs: see `rows.read`.
        out: a folder for a PNG of each id and `results.jsonl`; or a name that ends in .parquet, for one file with
            both. A folder next to that file exists until it is complete.
        engine: `here`, or another one that generates the same images.
        size: most images of one call.
        overwrite: generate rows again whose settings or package have changed.

    Raises:
        ArgumentError, PackageError: jobs or package cannot be used, or rows have changed; nothing was generated.
        TriptychError: the results cannot be written.
    """
    rows = read(jobs)
    model_hash = _hash_of(open_package(package))
    order = [row.id for row in rows]
    one_file = out.suffix.lower() == ".parquet"
    folder = out.with_name(f".{out.name}.parts") if one_file else out
    if one_file:
        parquet = _parquet()
        earlier = {result.id: result for result, _ in parquet.read(out, images=False)} if out.exists() else {}
        if not _waiting(rows, earlier, model_hash, overwrite=overwrite) and not folder.exists():
            return _summary(out, rows, earlier, len(rows))
    with Results(folder, order) as results:
        if one_file and out.exists():
            for result, png in parquet.read(out, images=True):
                if result.id not in results.rows:
                    results.keep(result, png)
        whole = {name: row for name, row in results.rows.items() if row.file is None or (folder / row.file).exists()}
        waiting = _waiting(rows, whole, model_hash, overwrite=overwrite)
        results.forget(row.id for row in waiting)
        before = len(rows) - len(waiting)
        for row, image in _run(engine, waiting, size, before):
            results.add(row, image, model_hash)
        if one_file:
            parquet.join(results.ordered(), folder, out)
            shutil.rmtree(folder)
    return _summary(out if one_file else results.table, rows, results.rows, before)


def here(
    package: Path, load: Mapping[str, Any], folder: Path, report: Callable[[str], None] = lambda line: None
) -> Engine:
    """Engine of this process; `load` are arguments of `TextToImage.load`."""

    def engine(units: Sequence[list[Row]]) -> Iterator[GeneratedImage]:
        pipe = TextToImage.load(package, **load)
        report(f"{package} on {pipe.device.name} ({pipe.device.provider})")
        report(f"{defaults_in_use(Request(''), pipe.model)}, where a row has no values of its own")
        for unit in units:
            yield from generate(pipe, unit, folder)

    return engine


def _hash_of(package: Package) -> str:
    """Text that changes with any file of a package and with its defaults, which images of rows depend on too."""
    arguments = package.manifest.defaults.arguments()
    return package.fingerprint + (json.dumps(arguments, sort_keys=True) if arguments else "")


def _run(engine: Engine, waiting: Sequence[Row], size: int, before: int) -> Iterator[tuple[Row, GeneratedImage]]:
    """Run rows and yield each with its result, under a progress bar with the time left."""
    by_id = {row.id: row for row in waiting}
    units = units_of([row for row in waiting if not row.reason], size)
    # disable=None: no bar if stderr is not a terminal
    with tqdm(total=before + len(waiting), initial=before, unit="image", leave=False, disable=None) as bar:
        for row in waiting:
            if row.reason:
                yield row, GeneratedImage(row.id, None, row.reason)
                bar.update()  # after the result is written
        for image in engine(units) if units else ():
            yield by_id.pop(image.id), image
            bar.update()


def _waiting(rows: Sequence[Row], known: Mapping[str, Result], model_hash: str, *, overwrite: bool) -> list[Row]:
    """Rows that are not done.

    Raises:
        ArgumentError: settings or package of finished rows have changed, and `overwrite` is false.
    """
    done = {name: result for name, result in known.items() if result.status == "done"}
    changed = {row.id for row in rows if row.id in done and done[row.id].job != row.fingerprint(model_hash)}
    if changed and not overwrite:
        names = listed([row.id for row in rows if row.id in changed])
        raise ArgumentError(
            f"already generated from other settings or by another package: {names}; --overwrite generates them again"
        )
    return [row for row in rows if row.id not in done or row.id in changed]


def _summary(out: Path, rows: Sequence[Row], known: Mapping[str, Result], before: int) -> Summary:
    failed = sum(known[row.id].status == "failed" for row in rows)
    return Summary(out, len(rows) - failed, before, failed)


def _parquet() -> Any:
    with needed("parquet", "a Parquet file"):
        from . import parquet
    return parquet
