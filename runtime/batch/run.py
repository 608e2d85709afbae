"""A file of jobs to a folder of pictures, or to one file of Parquet: what is done already is not made again."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import ArgumentError, TriptychError
from ..package.package import open_package
from ..pipeline import TextToImage
from .generate import Made, make, units_of
from .results import Result, Results
from .rows import Row, listed, read

Engine = Callable[[Sequence[list[Row]]], Iterable[Made]]
"""Makes units of rows, in any order; the arguments of `make` it has of its own."""


@dataclass(frozen=True)
class Summary:
    """Where the results are, and how many rows of the jobs are done, were done before, and failed."""

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
    """Make what is not made yet, and try again what failed.

    Args:
        package: folder of ONNX graphs.
        jobs: see `rows.read`.
        out: a folder, which gets a PNG for each id and `results.jsonl`; or a name that ends in .parquet, which gets
            the same as one file. While that is made, there is a folder beside it.
        engine: `here`, or another that makes the same pictures.
        size: pictures of one call, at most.
        overwrite: make rows anew that were made from other settings or by another package.

    Raises:
        ArgumentError, PackageError: jobs or package cannot be used, or rows have changed; nothing was made.
        TriptychError: the results cannot be written.
    """
    rows = read(jobs)
    model_hash = open_package(package).fingerprint
    order = [row.id for row in rows]
    one_file = out.suffix.lower() == ".parquet"
    folder = out.with_name(f".{out.name}.parts") if one_file else out
    if one_file:
        parquet = _parquet()
        earlier = {result.id: result for result, _ in parquet.kept(out, pictures=False)} if out.exists() else {}
        if not _waiting(rows, earlier, model_hash, overwrite=overwrite) and not folder.exists():
            return _summary(out, rows, earlier, len(rows))
    with Results(folder, order) as results:
        if one_file and out.exists():
            for result, picture in parquet.kept(out, pictures=True):
                if result.id not in results.rows:
                    results.keep(result, picture)
        whole = {name: row for name, row in results.rows.items() if row.file is None or (folder / row.file).exists()}
        waiting = _waiting(rows, whole, model_hash, overwrite=overwrite)
        results.forget(row.id for row in waiting)
        before = len(rows) - len(waiting)
        for row, made in _run(engine, waiting, size, before):
            results.add(row, made, model_hash)
        if one_file:
            parquet.join(results.ordered(), folder, out)
            shutil.rmtree(folder)
    return _summary(out if one_file else results.table, rows, results.rows, before)


def here(
    package: Path, load: Mapping[str, Any], folder: Path, report: Callable[[str], None] = lambda line: None
) -> Engine:
    """The engine of this process; `load` are arguments of `TextToImage.load`."""

    def engine(units: Sequence[list[Row]]) -> Iterator[Made]:
        pipe = TextToImage.load(package, **load)
        report(f"{package} on {pipe.device.name} ({pipe.device.provider})")
        for unit in units:
            yield from make(pipe, unit, folder)

    return engine


def _run(engine: Engine, waiting: Sequence[Row], size: int, before: int) -> Iterator[tuple[Row, Made]]:
    """Each row with what became of it, under a bar that has the time left."""
    by_id = {row.id: row for row in waiting}
    units = units_of([row for row in waiting if not row.reason], size)
    # disable=None: no bar where stderr is no terminal
    with tqdm(total=before + len(waiting), initial=before, unit="picture", leave=False, disable=None) as bar:
        for row in waiting:
            if row.reason:
                yield row, Made(row.id, None, row.reason)
                bar.update()  # once it is kept
        for made in engine(units) if units else ():
            yield by_id.pop(made.id), made
            bar.update()


def _waiting(rows: Sequence[Row], known: Mapping[str, Result], model_hash: str, *, overwrite: bool) -> list[Row]:
    """The rows that are not done.

    Raises:
        ArgumentError: some are done with other settings or by another package, and not `overwrite`.
    """
    done = {name: result for name, result in known.items() if result.status == "done"}
    changed = {row.id for row in rows if row.id in done and done[row.id].job != row.fingerprint(model_hash)}
    if changed and not overwrite:
        names = listed([row.id for row in rows if row.id in changed])
        raise ArgumentError(
            f"already made from other settings or by another package: {names}; --overwrite makes them anew"
        )
    return [row for row in rows if row.id not in done or row.id in changed]


def _summary(out: Path, rows: Sequence[Row], known: Mapping[str, Result], before: int) -> Summary:
    failed = sum(known[row.id].status == "failed" for row in rows)
    return Summary(out, len(rows) - failed, before, failed)


def _parquet() -> Any:
    try:
        from . import parquet
    except ImportError as error:
        raise TriptychError(f"Parquet needs triptych[parquet]: {error}") from None
    return parquet
